import { useQuery } from "@tanstack/react-query";
import { Refused, given } from "../api/client";
import { Curve, type Line } from "../console/Curve";
import { type FleetRun, type Round, consoleClient } from "../console/api";
import { FIGURES, bytes, counted, moment, seconds, share } from "../console/words";
import { Participants } from "./Participants";
import { STATES } from "./Runs";

/** One run: its rounds as they happen. */
export function RunDetail({ id }: { id: string }) {
  const run = useQuery({
    queryKey: ["console", "fleet", "run", id],
    queryFn: async () =>
      given(await consoleClient.GET("/v1/console/fleet/runs/{run_id}", { params: { path: { run_id: id } } })),
    retry: (count, error) => !(error instanceof Refused) && count < 5,
  });
  return (
    <>
      <p className="mt-0">
        <a href="#fleet/runs">All runs</a>
      </p>
      {run.isError && !run.data && <p role="alert">{run.error.message}</p>}
      {run.data ? <Shown run={run.data} /> : !run.isError && <p className="quiet">Asking for the run …</p>}
    </>
  );
}

function Shown({ run: { run, rounds, plan, guard, guard_allows, bundle, started, finished } }: { run: FleetRun }) {
  const committed = rounds.filter((round) => round.state === "committed");
  const x = committed.map((round) => round.round);
  const measured = [...new Set(committed.flatMap((round) => Object.keys(round.dev ?? {})))].filter((name) => name !== "loss");
  const figures: Line[] = measured.map((name) => ({
    name: FIGURES[name] ?? name,
    values: committed.map((round) => round.dev?.[name] ?? null),
  }));
  const spent = committed.some((round) => round.epsilon !== null);
  const sum = (one: (round: Round) => number) => rounds.reduce((total, round) => total + one(round), 0);
  return (
    <div className="grid gap-4">
      <section className="card" aria-label={`Run ${run.id}`}>
        <div className="row">
          <h2>{run.id}</h2>
          <span className="badge">{STATES[run.state]}</span>
        </div>
        {run.reason && <p role={run.state === "failed" ? "alert" : "status"}>{run.reason}</p>}
        <progress className="w-full" max={run.rounds || 1} value={run.committed} aria-label="Rounds committed" />
        <dl className="facts grid-cols-[repeat(auto-fit,minmax(8rem,1fr))]!">
          <Fact name="rounds" value={`${run.committed} of ${run.rounds}`} />
          <Fact name="learns" value={plan.learns} />
          <Fact name="strategy" value={`${plan.strategy}${plan.secure_sums ? ", secure sums" : ""}`} />
          {plan.group && <Fact name="group" value={plan.group} />}
          <Fact name="noise" value={plan.privacy} />
          {plan.epsilon !== null && (
            <Fact
              name="ε that a device has spent at most, and the run’s budget"
              value={`${committed.at(-1)?.epsilon?.toFixed(2) ?? "0.00"} in its lifetime; ${plan.epsilon.toFixed(2)} for this run`}
            />
          )}
          <Fact name="sent by devices" value={bytes(sum((round) => round.bytes_up))} />
          <Fact name="sent to devices" value={bytes(sum((round) => round.bytes_down))} />
          <Fact name="late, all rounds" value={String(sum((round) => round.late))} />
          <Fact name="began" value={moment(started)} />
          {finished && <Fact name="ended" value={moment(finished)} />}
          {bundle && <Fact name="bundle" value={bundle} />}
        </dl>
      </section>
      {Object.keys(guard).length > 0 && <GuardTable guard={guard} allows={guard_allows} />}
      {x.length > 0 ? (
        <div className="grid gap-4 min-[56rem]:grid-cols-2">
          {figures.length > 0 && <Curve title="On the development split" x={x} lines={figures} />}
          <Curve
            title="Training loss"
            x={x}
            lines={[{ name: "loss", values: committed.map((round) => round.train_loss) }]}
          />
          <Curve title="Devices" x={x} lines={outcomes(committed)} shown={(value) => value.toFixed(0)} />
          {spent && (
            <Curve
              title="ε spent, the most of any device"
              x={x}
              lines={[{ name: "ε", values: committed.map((round) => round.epsilon) }]}
              shown={(value) => value.toFixed(2)}
            />
          )}
        </div>
      ) : (
        <p className="quiet">No round is committed yet; curves begin with the first.</p>
      )}
      <section aria-label="Rounds">
        <h2>Rounds</h2>
        {[...rounds].reverse().map((round) => (
          <RoundCard key={`${round.round}/${round.attempt}`} run={run.id} round={round} />
        ))}
      </section>
    </div>
  );
}

function outcomes(rounds: Round[]): Line[] {
  return ["answered", "refused", "failed"].map((name) => ({
    name,
    values: rounds.map((round) => round.devices[name] ?? 0),
  }));
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function GuardTable({ guard, allows }: { guard: Record<string, number[]>; allows: number | null }) {
  return (
    <section aria-label="Guard">
      <h2>People from whom nobody learned</h2>
      <table>
        <caption className="quiet text-left">
          UAR before the run and after{allows !== null && `; it may lose ${allows} points`}
        </caption>
        <thead>
          <tr>
            <th scope="col">corpus</th>
            <th scope="col">before</th>
            <th scope="col">after</th>
            <th scope="col">points</th>
          </tr>
        </thead>
        <tbody>
          {Object.entries(guard).map(([name, [before = 0, after = 0]]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td>{share(before)}</td>
              <td>{share(after)}</td>
              <td>{(100 * (after - before)).toFixed(1)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function RoundCard({ run, round }: { run: string; round: Round }) {
  const waits = round.state === "open" ? ` (${round.devices["asked"] ?? 0} not yet)` : "";
  return (
    <details className="border-b border-line py-1">
      <summary>
        Round {round.round}
        {round.attempt > 1 && `, attempt ${round.attempt}`}: {round.state}
        {waits}. {counted(round.devices) || "nobody was asked"}
        {round.late > 0 && `, ${round.late} of them late`}
      </summary>
      <p className="quiet">
        {seconds(round.seconds)}, {bytes(round.bytes_up)} up, {bytes(round.bytes_down)} down
        {round.epsilon !== null && `, ε ${round.epsilon.toFixed(2)}`}
        {round.reason && `; ${round.reason}`}
      </p>
      {Object.keys(round.reasons).length > 0 && (
        <ul>
          {Object.entries(round.reasons).map(([reason, count]) => (
            <li key={reason}>
              {count} × {reason}
            </li>
          ))}
        </ul>
      )}
      <Participants run={run} round={round} />
    </details>
  );
}
