import { useId, useState } from "react";
import { given } from "../api/client";
import { Outcome, useAct } from "../console/Act";
import { type Bundle, type Fleet, type Rollout, consoleClient } from "../console/api";
import { guarded, moment } from "../console/words";
import { Dialog } from "../ui/Dialog";

/** Bundles with what they were made of, and who has which. */
export function Bundles({ fleet, acts }: { fleet: Fleet; acts: boolean }) {
  const [back, setBack] = useState(false);
  const promote = useAct(async (body: { version: string; percent: number; tolerance: number; min_examples: number }) =>
    given(await consoleClient.POST("/v1/console/rollouts/promote", { body })),
  );
  const rollBack = useAct(async (reason: string) =>
    given(await consoleClient.POST("/v1/console/rollouts/back", { body: { reason } })),
  );
  const newest = new Map<string, Rollout>([...fleet.rollouts].reverse().map((each) => [each.version, each]));
  const staged = fleet.rollouts.find((each) => each.state === "staged");
  const out = staged?.version ?? lastOffered(fleet.bundles);
  if (!fleet.bundles.length) {
    return (
      <p>
        No bundle yet. A finished run makes one; or register one: <code>fedaffect server bundles add FOLDER</code>
      </p>
    );
  }
  return (
    <div className="grid gap-4">
      <section className="card" aria-label="Rollout">
        <h2>Rollout</h2>
        {staged ? (
          <>
            <p>
              <strong>{staged.version}</strong> goes to {staged.percent} % of devices.{" "}
              {staged.reports
                ? `${staged.reports} said how it does: ${staged.better} better, ${staged.worse} worse, ${
                    staged.reports - staged.better - staged.worse
                  } the same${staged.change === null ? "" : `; ${signed(staged.change)} on the whole`}.`
                : "None has said yet how it does."}
            </p>
            <progress className="w-full" max={100} value={staged.percent} aria-label="Share of devices" />
          </>
        ) : (
          <p>{out ? `All devices may have ${out}.` : "No bundle is on its way."}</p>
        )}
        {acts && out && (
          <button type="button" onClick={() => setBack(true)}>
            Roll {out} back …
          </button>
        )}
        {!acts && <p className="quiet">You may look. Operators promote bundles and roll them back.</p>}
        <Outcome act={promote} />
        <Outcome act={rollBack} />
      </section>
      <ol className="m-0 grid list-none gap-3 p-0" aria-label="Lineage">
        {fleet.bundles.map((bundle) => (
          <li key={bundle.version} className="card">
            <Line bundle={bundle} rollout={newest.get(bundle.version)} known={fleet.bundles} />
            {acts && newest.get(bundle.version)?.state !== "rolled-back" && (
              <Promotion
                key={newest.get(bundle.version)?.state === "staged" ? staged?.percent : 0}
                version={bundle.version}
                least={newest.get(bundle.version)?.state === "staged" ? (staged?.percent ?? 0) : 0}
                promote={(percent) => promote.mutate({ version: bundle.version, percent, tolerance: 0.02, min_examples: 20 })}
              />
            )}
          </li>
        ))}
      </ol>
      <Dialog
        title={`Roll ${out ?? ""} back?`}
        about="Devices go back to the bundle before it. It cannot be rolled out again; build a better one."
        open={back}
        onClose={() => setBack(false)}
      >
        <button type="button" onClick={() => setBack(false)}>
          Keep it
        </button>
        <button
          type="button"
          className="primary"
          onClick={() => {
            rollBack.mutate("");
            setBack(false);
          }}
        >
          Roll it back
        </button>
      </Dialog>
    </div>
  );
}

function lastOffered(bundles: Bundle[]): string | undefined {
  return bundles
    .filter((bundle) => bundle.offered)
    .sort((a, b) => (a.offered! < b.offered! ? 1 : -1))
    .at(0)?.version;
}

const signed = (value: number): string => `${value > 0 ? "+" : ""}${value.toFixed(3)}`;

function Line({ bundle, rollout, known }: { bundle: Bundle; rollout: Rollout | undefined; known: Bundle[] }) {
  const before = bundle.before && (known.some((each) => each.version === bundle.before) ? `${bundle.before}, below` : bundle.before);
  return (
    <>
      <div className="row">
        <h3 className="m-0 text-base [overflow-wrap:anywhere]">{bundle.version}</h3>
        {rollout && <span className="badge">{rollout.state === "staged" ? `at ${rollout.percent} %` : rollout.state}</span>}
      </div>
      <p className="quiet m-0">
        {[
          bundle.run ? `made by run ${bundle.run}, round ${bundle.round ?? "?"}` : "registered by hand",
          before && `from ${before}`,
          bundle.epsilon !== null && `ε ${bundle.epsilon.toFixed(2)}`,
          `${bundle.megabytes.toFixed(1)} MB`,
          moment(bundle.created),
        ]
          .filter(Boolean)
          .join("; ")}
      </p>
      {Object.keys(bundle.guard).length > 0 && <p className="m-0">Guard: {guarded(bundle.guard)}</p>}
      {bundle.data_statement && <p className="m-0">{bundle.data_statement}</p>}
      {rollout?.reason && <p className="m-0">Rolled back: {rollout.reason}</p>}
    </>
  );
}

function Promotion({ version, least, promote }: { version: string; least: number; promote: (percent: number) => void }) {
  const [percent, setPercent] = useState(least ? 100 : 10);
  const id = useId();
  if (least >= 100) return null;
  return (
    <form
      className="row start mt-2"
      onSubmit={(event) => {
        event.preventDefault();
        promote(percent);
      }}
    >
      <label htmlFor={id}>
        Share of devices, % <span className="sr-only">for {version}</span>
      </label>
      <input
        id={id}
        type="number"
        className="w-24"
        min={Math.max(1, least)}
        max={100}
        step="any"
        required
        value={percent}
        onChange={(event) => setPercent(event.target.valueAsNumber)}
      />
      <button type="submit">
        {least ? "Promote further" : "Roll out"} <span className="sr-only">{version}</span>
      </button>
    </form>
  );
}
