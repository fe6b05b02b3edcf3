import type { Fleet } from "../console/api";
import { counted, named, reasons } from "../console/words";

export const STATES: Record<string, string> = {
  open: "under way",
  finished: "finished",
  failed: "failed",
  cancelled: "cancelled",
};

/** Every run of the fleet, newest first. */
export function Runs({ fleet }: { fleet: Fleet }) {
  if (!fleet.runs.length) {
    return (
      <p>
        No run yet. Have the fleet learn: <code>fedaffect fleet run</code>
      </p>
    );
  }
  return (
    <table className="rows">
      <caption className="quiet text-left">Runs of this fleet</caption>
      <thead>
        <tr>
          <th scope="col">Run</th>
          <th scope="col">State</th>
          <th scope="col">Rounds</th>
          <th scope="col">Newest round’s devices</th>
          <th scope="col">Why</th>
        </tr>
      </thead>
      <tbody>
        {fleet.runs.map((run) => (
          <tr key={run.id}>
            <th scope="row" className={named(run.id)}>
              <a href={`#fleet/runs/${encodeURIComponent(run.id)}`}>{run.id}</a>
            </th>
            <td data-name="state">{STATES[run.state]}</td>
            <td data-name="rounds">
              {run.committed} of {run.rounds}
            </td>
            <td data-name="devices">{counted(run.newest)}</td>
            <td data-name="why">{run.reason || reasons(run.reasons)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
