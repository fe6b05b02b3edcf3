import { Bars, percent } from "./Bars";
import { SENSES, ranked } from "./emotions";
import type { Answer } from "./stream";

const NAMES = ["video", "audio", "text"];

/** What each sense said alone, and how much it weighed. */
export function Senses({ answer }: { answer: Answer | undefined }) {
  return (
    <section className="card" aria-labelledby="senses-title">
      <h2 id="senses-title">What each sense said</h2>
      <table className="senses">
        <thead>
          <tr>
            <th scope="col">Sense</th>
            <th scope="col">Alone it says</th>
            <th scope="col">Weight</th>
          </tr>
        </thead>
        <tbody>
          {NAMES.map((name) => {
            const alone = answer?.by_modality?.[name];
            const best = alone && ranked(alone)[0];
            const weight = answer?.weights?.[name] ?? 0;
            return (
              <tr key={name}>
                <th scope="row">{SENSES[name]}</th>
                <td>{best ? `${best[0]}, ${percent(best[1])}` : "–"}</td>
                <td>
                  <span className="weight">
                    <span className="bar-track">
                      <span className="bar accent" style={{ transform: `scaleX(${weight})` }} />
                    </span>
                    {alone ? percent(weight) : "–"}
                  </span>
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
      <p className="quiet">Weight: how much the answer changes without this sense, as a share of all three changes.</p>
    </section>
  );
}

/** Faces that the answer does not rest on: each by itself, since a voice and words belong to nobody in particular. */
export function OtherFaces({ answer }: { answer: Answer | undefined }) {
  const others = answer?.faces?.filter((face) => !face.fused && face.probabilities) ?? [];
  if (others.length === 0) return null;
  return (
    <section className="card" aria-labelledby="others-title">
      <h2 id="others-title">Other faces, each alone</h2>
      <p className="quiet">
        The answer rests on the largest face, the voice and the words. Of other faces only the face is looked at.
      </p>
      {others.map((face) => (
        <div key={face.id}>
          <h3>Face {face.id}</h3>
          <Bars probabilities={face.probabilities} name={`Most likely emotions of face ${face.id}`} />
        </div>
      ))}
    </section>
  );
}
