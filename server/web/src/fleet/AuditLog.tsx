import { useInfiniteQuery, useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { given } from "../api/client";
import { type Entry, consoleClient } from "../console/api";
import { moment } from "../console/words";

const PAGE = 50;

/** What happened and who did it, newest first; and whether it is what was written. */
export function AuditLog() {
  const [log, setLog] = useState("");
  const [action, setAction] = useState("");
  const [subject, setSubject] = useState("");
  const found = useInfiniteQuery({
    queryKey: ["console", "fleet", "audit", log, action, subject],
    queryFn: async ({ pageParam }) =>
      given(
        await consoleClient.GET("/v1/console/audit", {
          params: { query: { log, action, subject, limit: PAGE, ...(pageParam ? { before: pageParam } : {}) } },
        }),
      ),
    initialPageParam: 0,
    getNextPageParam: (page) => (page.entries.length === PAGE ? page.entries.at(-1)?.id : undefined),
    placeholderData: (before) => before,
  });
  const logs = found.data?.pages[0]?.logs ?? [];
  const entries = found.data?.pages.flatMap((page) => page.entries) ?? [];
  return (
    <div className="grid gap-4">
      <Check log={log} />
      <form className="grid gap-2 min-[40rem]:grid-cols-3" onSubmit={(event) => event.preventDefault()}>
        {logs.length > 1 && (
          <label>
            Log
            <select value={log} onChange={(event) => setLog(event.target.value)}>
              {logs.map((name, place) => (
                <option key={name} value={place ? name : ""}>
                  {name}
                </option>
              ))}
            </select>
          </label>
        )}
        <label>
          What begins with
          <input className="w-full" value={action} placeholder="device" onChange={(event) => setAction(event.target.value)} />
        </label>
        <label>
          To what begins with
          <input className="w-full" value={subject} placeholder="learn-1" onChange={(event) => setSubject(event.target.value)} />
        </label>
      </form>
      {found.isError && <p role="alert">{found.error.message}</p>}
      {found.data && entries.length === 0 && <p>Nothing of that kind is in the log.</p>}
      {entries.length > 0 && (
        <table className="rows">
          <caption className="quiet text-left">Entries, newest first</caption>
          <thead>
            <tr>
              <th scope="col">Entry</th>
              <th scope="col">When</th>
              <th scope="col">Who</th>
              <th scope="col">What</th>
              <th scope="col">To what</th>
              <th scope="col">Details</th>
            </tr>
          </thead>
          <tbody>
            {entries.map((entry) => (
              <tr key={entry.id}>
                <th scope="row">{entry.id}</th>
                <td>{moment(entry.at)}</td>
                <td data-name="who" className="[overflow-wrap:anywhere]">
                  {entry.actor}
                </td>
                <td data-name="what">{entry.action}</td>
                <td data-name="to what" className="[overflow-wrap:anywhere]">
                  {entry.subject}
                </td>
                <td data-name="details" className="[overflow-wrap:anywhere]">
                  {details(entry)}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {found.hasNextPage && (
        <button type="button" onClick={() => void found.fetchNextPage()} disabled={found.isFetching}>
          Older entries
        </button>
      )}
    </div>
  );
}

function details(entry: Entry): string {
  return Object.entries(entry.details)
    .map(([name, value]) => `${name} ${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(", ")
    .slice(0, 200);
}

function Check({ log }: { log: string }) {
  const [expected, setExpected] = useState("");
  const check = useMutation({
    mutationFn: async () =>
      given(await consoleClient.GET("/v1/console/audit/check", { params: { query: { log, expected } } })),
  });
  return (
    <form
      className="card grid gap-2"
      onSubmit={(event) => {
        event.preventDefault();
        check.mutate();
      }}
    >
      <h2>Is it what was written?</h2>
      <label>
        A head that was kept elsewhere, to find a log that was forged whole (may be left out)
        <input
          className="w-full"
          value={expected}
          placeholder="ID:HASH, as fedaffect audit head prints it"
          onChange={(event) => setExpected(event.target.value)}
        />
      </label>
      <div>
        <button type="submit" disabled={check.isPending}>
          Check the chain
        </button>
      </div>
      {check.isError && <p role="alert">{check.error.message}</p>}
      {check.data && !check.data.unchanged && <p role="alert">{check.data.problem}</p>}
      {check.data?.unchanged && (
        <p role="status" className="[overflow-wrap:anywhere]">
          Unchanged: {check.data.entries} entries
          {check.data.archived > 0 && `, ${check.data.archived} archived before them`}. Keep this head elsewhere:{" "}
          <code>{check.data.head}</code>
        </p>
      )}
    </form>
  );
}
