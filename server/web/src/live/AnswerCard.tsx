import { useState } from "react";
import type { Prediction } from "../api/client";
import { Correction } from "./Correction";
import { SURE, colourOf, ranked } from "./emotions";

const SHOWN = 3;
const SENSES: Record<string, string> = { text: "words", audio: "voice", video: "face" };

interface Props {
  answer: Prediction | undefined;
  labels: string[];
}

/** The newest answer, and a correction of the one that was being looked at. */
export function AnswerCard({ answer, labels }: Props) {
  const [corrected, setCorrected] = useState<Prediction>();
  const shown = corrected ?? answer;
  const sure = shown !== undefined && shown.confidence >= SURE;
  const rows = shown ? ranked(shown.probabilities).slice(0, SHOWN) : [];
  const title = !shown ? "No answer yet" : sure ? shown.label : "Not sure";
  return (
    <section className="card answer" aria-labelledby="answer-title" data-request={shown?.request_id}>
      <div className="row">
        <h2 id="answer-title">{title}</h2>
        {shown && <span className="badge">{shown.source}</span>}
      </div>
      <p className="quiet">
        {shown
          ? `${sure ? "" : `perhaps ${shown.label}, `}confidence ${percent(shown.confidence)}, from ${shown.modalities.map((m) => SENSES[m] ?? m).join(", ")}`
          : "Start camera or microphone, or write a sentence."}
      </p>
      <ul className="bars" aria-label="Most likely emotions">
        {Array.from({ length: SHOWN }, (_, place) => {
          const [label, share] = rows[place] ?? ["", 0];
          return (
            <li key={place} aria-hidden={!label}>
              <span className="bar-name">{label || "\u00a0"}</span>
              <span className="bar-track">
                <span className="bar" style={{ transform: `scaleX(${share})`, backgroundColor: colourOf(label) }} />
              </span>
              <span className="bar-share">{label && percent(share)}</span>
            </li>
          );
        })}
      </ul>
      <p className="quiet notes">{shown?.notes.join(". ") || "\u00a0"}</p>
      <Correction
        answer={answer}
        held={corrected}
        labels={labels}
        onHold={() => setCorrected(answer)}
        onDone={() => setCorrected(undefined)}
      />
    </section>
  );
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}
