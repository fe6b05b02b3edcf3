import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { client, given } from "../api/client";
import { useApiKey } from "../api/key";
import { clock } from "../film/timeline";
import { useView } from "../views";
import { Compare } from "./Compare";
import { Session } from "./Session";
import { Shares } from "./Shares";

/** What the person chose to keep. */
export default function SessionsView() {
  const key = useApiKey();
  const { rest } = useView();
  const [chosen, setChosen] = useState<string[]>([]);
  const kept = useQuery({
    queryKey: ["sessions", key],
    queryFn: async () => given(await client.GET("/v1/sessions")),
  });
  if (rest.startsWith("compare/")) {
    const [first = "", second = ""] = rest.slice("compare/".length).split("+");
    return <Compare first={first} second={second} />;
  }
  if (rest) return <Session id={rest} />;
  const sessions = kept.data?.sessions ?? [];
  const days = kept.data?.keep_days ?? 0;
  return (
    <section className="card" aria-labelledby="sessions-title">
      <h2 id="sessions-title">Kept sessions</h2>
      {kept.isPending && <p role="status">Asking …</p>}
      {kept.isError && <p role="alert">No sessions: {kept.error.message}</p>}
      {kept.data && (
        <p className="quiet">
          {days
            ? `Only what you chose to keep, for ${days} ${days === 1 ? "day" : "days"}; then it is deleted. Never pictures or sound.`
            : "This server keeps no sessions; its operator decides by --keep-sessions DAYS."}
        </p>
      )}
      {kept.data && sessions.length === 0 && days > 0 && (
        <p>
          Nothing is kept. Open a <a href="#film">film</a> and choose “Keep this session”.
        </p>
      )}
      {sessions.length > 0 && (
        <>
          <div className="row start my-3">
            <button
              type="button"
              disabled={chosen.length !== 2}
              onClick={() => {
                window.location.hash = `#sessions/compare/${chosen.join("+")}`;
              }}
            >
              Compare two
            </button>
            <p className="quiet m-0">{chosen.length === 2 ? "" : "Tick two sessions to compare them."}</p>
          </div>
          <ul className="m-0 grid list-none gap-2 p-0">
            {sessions.map((each) => (
              <li
                key={each.id}
                className="grid grid-cols-[auto_1fr] items-start gap-3 rounded-lg border border-line bg-background p-3"
              >
                <input
                  type="checkbox"
                  className="mt-1"
                  aria-label={`Compare ${each.name}`}
                  checked={chosen.includes(each.id)}
                  onChange={(event) =>
                    setChosen(
                      event.target.checked ? [...chosen, each.id].slice(-2) : chosen.filter((id) => id !== each.id),
                    )
                  }
                />
                <div className="min-w-0">
                  <div className="row">
                    <a href={`#sessions/${each.id}`} className="min-w-0 truncate font-semibold">
                      {each.name}
                    </a>
                    <span className="badge">{each.kind}</span>
                  </div>
                  <p className="quiet m-0">
                    {new Date(each.created).toLocaleString()}, {clock(each.summary.duration_s)}, {each.summary.changes}{" "}
                    {each.summary.changes === 1 ? "change" : "changes"}; deleted on{" "}
                    {new Date(each.until).toLocaleDateString()}
                  </p>
                  <Shares shares={each.summary.shares} />
                </div>
              </li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}
