import { useQuery } from "@tanstack/react-query";
import { Refused, given } from "../api/client";
import { Curve } from "../console/Curve";
import { type RecordedRunDetail, consoleClient } from "../console/api";
import { FIGURES, bytes, guarded, share } from "../console/words";

export function useRecordedRun(name: string) {
  return useQuery({
    queryKey: ["console", "research", "run", name],
    queryFn: async () => given(await consoleClient.GET("/v1/console/research/run", { params: { query: { name } } })),
    retry: (count, error) => !(error instanceof Refused) && count < 5,
  });
}

/** One run folder: curves, figures of each label, settings. */
export function RecordedRunView({ name }: { name: string }) {
  const run = useRecordedRun(name);
  return (
    <>
      <p className="mt-0">
        <a href="#research">All runs</a>
      </p>
      {run.isError && <p role="alert">{run.error.message}</p>}
      {run.data && <Shown detail={run.data} />}
    </>
  );
}

function Shown({ detail: { run, rounds, per_class, settings, test_std, guard } }: { detail: RecordedRunDetail }) {
  const x = rounds.map((round) => round.round);
  const measured = [...new Set(rounds.flatMap((round) => Object.keys(round.dev ?? {})))].filter((name) => name !== "loss");
  const spent = rounds.some((round) => round.epsilon !== null);
  const sent = rounds.reduce((sum, round) => sum + round.bytes_up + round.bytes_down, 0);
  return (
    <div className="grid gap-4">
      <section className="card" aria-label={`Run ${run.name}`}>
        <div className="row">
          <h2 className="[overflow-wrap:anywhere]">{run.name}</h2>
          <span className="badge">{run.finished ? "finished" : "under way or stopped"}</span>
        </div>
        <progress className="w-full" max={run.planned || 1} value={run.rounds} aria-label="Rounds" />
        <p className="m-0">
          {[
            run.dataset,
            run.how,
            run.clients !== null && `${run.clients} clients`,
            `${rounds.length} rounds`,
            run.best_round !== null && `best round ${run.best_round}`,
            sent > 0 && `${bytes(sent)} sent`,
          ]
            .filter(Boolean)
            .join("; ")}
        </p>
        {run.test && (
          <p className="m-0">
            Test:{" "}
            {Object.entries(run.test)
              .map(([name, value]) => `${FIGURES[name] ?? name} ${share(value)}${name in test_std ? ` ± ${share(test_std[name]!)}` : ""}`)
              .join(", ")}
          </p>
        )}
        {Object.keys(guard).length > 0 && <p className="m-0">Guard, before and after: {guarded(guard)}</p>}
      </section>
      {x.length > 0 ? (
        <div className="grid gap-4 min-[56rem]:grid-cols-2">
          {measured.length > 0 && (
            <Curve
              title="On the development split"
              x={x}
              lines={measured.map((name) => ({
                name: FIGURES[name] ?? name,
                values: rounds.map((round) => round.dev?.[name] ?? null),
              }))}
            />
          )}
          <Curve title="Training loss" x={x} lines={[{ name: "loss", values: rounds.map((round) => round.train_loss) }]} />
          {spent && (
            <Curve
              title="ε spent"
              x={x}
              lines={[{ name: "ε", values: rounds.map((round) => round.epsilon) }]}
              shown={(value) => value.toFixed(2)}
            />
          )}
        </div>
      ) : (
        <p className="quiet">No round yet; curves begin with the first.</p>
      )}
      {Object.keys(per_class).length > 0 && (
        <table className="rows">
          <caption className="quiet text-left">Test split by label</caption>
          <thead>
            <tr>
              <th scope="col">Label</th>
              <th scope="col">Recall</th>
              <th scope="col">Precision</th>
              <th scope="col">F1</th>
              <th scope="col">Samples</th>
            </tr>
          </thead>
          <tbody>
            {Object.entries(per_class).map(([label, figures]) => (
              <tr key={label}>
                <th scope="row">{label}</th>
                <td data-name="recall">{share(figures["recall"] ?? 0)}</td>
                <td data-name="precision">{share(figures["precision"] ?? 0)}</td>
                <td data-name="F1">{share(figures["f1"] ?? 0)}</td>
                <td data-name="samples">{figures["support"]}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <details>
        <summary>Settings</summary>
        <pre tabIndex={0} role="region" aria-label="Settings">
          {JSON.stringify(settings, null, 2)}
        </pre>
      </details>
    </div>
  );
}
