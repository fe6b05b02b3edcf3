import { useState } from "react";
import type { RecordedRun } from "../console/api";
import { named, share } from "../console/words";

interface Props {
  listed: { folder: string; problem: string; runs: RecordedRun[]; sweeps: string[] };
}

export const runAddress = (name: string): string => `#research/run/${encodeURIComponent(name)}`;
export const comparisonAddress = (names: readonly string[]): string =>
  `#research/compare/${names.map(encodeURIComponent).join(",")}`;

/** Every run folder; some may be chosen and held against each other. */
export function RunFolders({ listed: { folder, problem, runs, sweeps } }: Props) {
  const [chosen, setChosen] = useState<readonly string[]>([]);
  if (!runs.length) {
    return (
      <p>
        No runs in <code>{folder}</code>
        {problem && `: ${problem}`}. Make one: <code>fedaffect simulate</code>
      </p>
    );
  }
  const choose = (name: string, on: boolean) =>
    setChosen(on ? [...chosen, name] : chosen.filter((each) => each !== name));
  return (
    <div className="grid gap-4">
      <div className="row">
        <p className="m-0">
          {chosen.length ? `Chosen: ${chosen.join(", ")}` : "Choose two runs or more to compare; the first is the measure."}
        </p>
        <button
          type="button"
          className="primary"
          disabled={chosen.length < 2 && !chosen.some((name) => sweeps.includes(name))}
          onClick={() => {
            window.location.hash = comparisonAddress(chosen);
          }}
        >
          Compare
        </button>
      </div>
      <table className="rows">
        <caption className="quiet text-left">
          Runs in <code>{folder}</code>
        </caption>
        <thead>
          <tr>
            <th scope="col">Compare</th>
            <th scope="col">Run</th>
            <th scope="col">Dataset</th>
            <th scope="col">How</th>
            <th scope="col">Rounds</th>
            <th scope="col">UAR</th>
            <th scope="col">Accuracy</th>
          </tr>
        </thead>
        <tbody>
          {sweeps.map((name) => (
            <tr key={`sweep ${name}`}>
              <td className="tick" data-name="compare">
                <Choice name={name} chosen={chosen} choose={choose} />
              </td>
              <th scope="row">{name}</th>
              <td data-name="dataset">a sweep, all its settings over their seeds</td>
              <td />
              <td />
              <td />
              <td />
            </tr>
          ))}
          {runs.map((run) => (
            <tr key={run.name}>
              {run.finished && run.test ? (
                <td className="tick" data-name="compare">
                  <Choice name={run.name} chosen={chosen} choose={choose} />
                </td>
              ) : (
                <td />
              )}
              <th scope="row" className={named(run.name)}>
                {run.damaged ? run.name : <a href={runAddress(run.name)}>{run.name}</a>}
              </th>
              {run.damaged ? (
                <td colSpan={5}>damaged: {run.damaged}</td>
              ) : (
                <>
                  <td data-name="dataset">{run.dataset}</td>
                  <td data-name="how">{[run.how, ...run.differences.filter((one) => !run.name.includes(one))].join(", ")}</td>
                  <td data-name="rounds">
                    {run.finished ? run.rounds : `${run.rounds} of ${run.planned}, under way or stopped`}
                  </td>
                  <td data-name="UAR">{figure(run, "uar")}</td>
                  <td data-name="accuracy">{figure(run, "accuracy")}</td>
                </>
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function figure(run: RecordedRun, name: string): string {
  const value = run.test?.[name];
  return value === undefined ? "" : share(value);
}

function Choice({ name, chosen, choose }: { name: string; chosen: readonly string[]; choose: (name: string, on: boolean) => void }) {
  return (
    <label className="check min-h-0">
      <input type="checkbox" checked={chosen.includes(name)} onChange={(event) => choose(name, event.target.checked)} />
      <span className="sr-only">Compare {name}</span>
    </label>
  );
}
