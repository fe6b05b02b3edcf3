import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useRef } from "react";
import { Refused, given } from "../api/client";
import { Door } from "../console/Door";
import { Linked } from "../console/Linked";
import { type FleetRun, type Me, type Round, consoleClient } from "../console/api";
import { useEvents } from "../console/events";
import { mayAct } from "../console/me";
import { Tabs } from "../ui/Tabs";
import { useView } from "../views";
import { AuditLog } from "./AuditLog";
import { Bundles } from "./Bundles";
import { Devices } from "./Devices";
import { RunDetail } from "./RunDetail";
import { Runs } from "./Runs";

const TABS = ["runs", "devices", "bundles", "audit"] as const;
// Many entries in a moment are one reason to look again.
const SETTLE_MS = 400;

/** The fleet as it learns, for viewers and operators. */
export default function FleetView() {
  return <Door>{(me) => <Watched me={me} />}</Door>;
}

interface Happened {
  run: string;
  round: Round | null;
}

function Watched({ me }: { me: Me }) {
  const { rest } = useView();
  const [at, ...named] = rest.split("/");
  const tab = TABS.find((each) => each === at) ?? "runs";
  const run = tab === "runs" ? decodeURIComponent(named.join("/")) : "";
  const queries = useQueryClient();
  const timer = useRef(0);
  const anew = useCallback(() => {
    window.clearTimeout(timer.current);
    timer.current = window.setTimeout(() => void queries.invalidateQueries({ queryKey: ["console", "fleet"] }), SETTLE_MS);
  }, [queries]);
  const link = useEvents("/fleet/events", ["entry", "progress"], (kind, data) => {
    if (kind !== "entry" && kind !== "progress") {
      if (kind !== "away") anew();
      return;
    }
    const { run: id, round } = data as Happened;
    if (round) {
      queries.setQueryData<FleetRun>(["console", "fleet", "run", id], (known) => known && withRound(known, round));
    }
    if (kind === "entry") anew();
  });
  const fleet = useQuery({
    queryKey: ["console", "fleet", "now"],
    queryFn: async () => given(await consoleClient.GET("/v1/console/fleet")),
    retry: (count, error) => !(error instanceof Refused) && count < 5,
  });
  if (fleet.isError && !fleet.data) return <p role="alert">The fleet cannot be shown: {fleet.error.message}</p>;
  if (!fleet.data) return <p className="quiet">Asking for the fleet …</p>;
  const acts = mayAct(me);
  return (
    <>
      <Linked link={link} />
      {fleet.data.service === "does not answer" && (
        <p role="status">
          The fleet’s service does not answer, so nobody knows who is online. Start it: <code>fedaffect fleet up</code>
        </p>
      )}
      {Object.entries(fleet.data.problems).map(([subject, why]) => (
        <p key={subject} role="alert">
          {subject}: {why}
        </p>
      ))}
      <Tabs
        label="Fleet"
        value={tab}
        onChange={(value) => {
          window.location.hash = `fleet/${value}`;
        }}
        tabs={[
          { value: "runs", name: "Runs", body: run ? <RunDetail id={run} /> : <Runs fleet={fleet.data} /> },
          { value: "devices", name: `Devices${waiting(fleet.data.devices)}`, body: <Devices fleet={fleet.data} acts={acts} /> },
          { value: "bundles", name: "Bundles", body: <Bundles fleet={fleet.data} acts={acts} /> },
          { value: "audit", name: "Audit log", body: <AuditLog /> },
        ]}
      />
    </>
  );
}

function waiting(devices: { status: string }[]): string {
  const count = devices.filter((device) => device.status === "waiting").length;
  return count ? ` (${count} wait)` : "";
}

/** A run with one of its rounds as it is by now. */
function withRound(known: FleetRun, round: Round): FleetRun {
  const others = known.rounds.filter((each) => each.round !== round.round || each.attempt !== round.attempt);
  const rounds = [...others, round].sort((a, b) => a.round - b.round || a.attempt - b.attempt);
  return { ...known, rounds };
}
