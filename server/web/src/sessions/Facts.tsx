import { clock } from "../film/timeline";
import type { KeptSession } from "./keep";

/** A session's figures. */
export function Facts({ session }: { session: KeptSession }) {
  const { summary } = session;
  const answered = Object.entries(summary.answered_by)
    .map(([who, share]) => `${who} ${Math.round(100 * share)} %`)
    .join(", ");
  const rows: [string, string][] = [
    ["Length", clock(summary.duration_s)],
    ["Changes", String(summary.changes)],
    ["Mean confidence", `${Math.round(100 * summary.confidence)} %`],
    ["Answered by", `${answered}${summary.model_version && ` (${summary.model_version})`}`],
    ["Kept", new Date(session.created).toLocaleString()],
    ["Deleted on", new Date(session.until).toLocaleDateString()],
  ];
  return (
    <dl className="facts">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
