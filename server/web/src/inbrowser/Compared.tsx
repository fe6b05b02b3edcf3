import type { Prediction } from "../api/client";

interface Props {
  server: Prediction | undefined;
  browser: Prediction | undefined;
}

/** What the server and this browser say of the same, side by side. */
export function Compared({ server, browser }: Props) {
  const both = server && browser;
  const shared = both
    ? Object.keys(server.probabilities).reduce(
        (sum, label) => sum + Math.min(server.probabilities[label] ?? 0, browser.probabilities[label] ?? 0),
        0,
      )
    : undefined;
  return (
    <section className="card" aria-labelledby="compared-title">
      <h2 id="compared-title">Both, side by side</h2>
      <dl className="facts">
        <Side name="The server" answer={server} />
        <Side name="This browser" answer={browser} />
        <div>
          <dt>In common</dt>
          <dd>{shared === undefined ? "–" : `${Math.round(100 * shared)} % of the probability`}</dd>
        </div>
      </dl>
    </section>
  );
}

function Side({ name, answer }: { name: string; answer: Prediction | undefined }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        {answer ? `${answer.label}, ${Math.round(100 * answer.confidence)} %, in ${Math.round(answer.latency_ms)} ms` : "–"}
      </dd>
    </div>
  );
}
