import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Refused, given } from "../api/client";
import { Door } from "../console/Door";
import { Linked } from "../console/Linked";
import { type RecordedRound, type RecordedRunDetail, consoleClient } from "../console/api";
import { useEvents } from "../console/events";
import { useView } from "../views";
import { Compared } from "./Compared";
import { RecordedRunView } from "./RecordedRunView";
import { RunFolders } from "./RunFolders";

/** Run folders of simulations, while they run and afterwards. */
export default function ResearchView() {
  return <Door>{() => <Watched />}</Door>;
}

interface NewRounds {
  run: string;
  before: number;
  rounds: RecordedRound[];
  finished: boolean;
}

function Watched() {
  const { rest } = useView();
  const [at, ...named] = rest.split("/");
  const queries = useQueryClient();
  const anew = () => void queries.invalidateQueries({ queryKey: ["console", "research"] });
  const link = useEvents("/research/events", ["rounds", "runs"], (kind, data) => {
    if (kind === "away") return;
    if (kind !== "rounds") return anew();
    const { run, before, rounds, finished } = data as NewRounds;
    const key = ["console", "research", "run", run];
    const known = queries.getQueryData<RecordedRunDetail>(key);
    if (known && known.rounds.length >= before && !finished) {
      queries.setQueryData<RecordedRunDetail>(key, { ...known, rounds: [...known.rounds.slice(0, before), ...rounds] });
      void queries.invalidateQueries({ queryKey: ["console", "research", "list"] });
    } else anew();
  });
  const listed = useQuery({
    queryKey: ["console", "research", "list"],
    queryFn: async () => given(await consoleClient.GET("/v1/console/research")),
    retry: (count, error) => !(error instanceof Refused) && count < 5,
  });
  const names = named.join("/");
  return (
    <>
      <Linked link={link} />
      {listed.isError && !listed.data && <p role="alert">{listed.error.message}</p>}
      {at === "run" && names ? (
        <RecordedRunView name={decodeURIComponent(names)} />
      ) : at === "compare" && names ? (
        <Compared names={names.split(",").map(decodeURIComponent)} />
      ) : (
        listed.data && <RunFolders listed={listed.data} />
      )}
    </>
  );
}
