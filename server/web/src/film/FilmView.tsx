import { useEffect, useState } from "react";
import { Chooser } from "./Chooser";
import { Downloads } from "./Downloads";
import { Player } from "./Player";
import { KeepSession } from "../sessions/KeepSession";
import { clock, keptOf, lengthOf, shares } from "./timeline";
import { useFilm } from "./useFilm";

const MB = 1e6;

/** A film becomes a timeline. */
export default function FilmView() {
  const { file, stage, film, timeline, notice, send, forget } = useFilm();
  const [source, setSource] = useState<string>();
  useEffect(() => {
    if (!file) return setSource(undefined);
    const url = URL.createObjectURL(file);
    setSource(url);
    return () => URL.revokeObjectURL(url);
  }, [file]);

  if (stage.kind === "none") return <Chooser onFilm={(chosen) => void send(chosen)} />;
  const sent = film && file ? film.received_bytes / Math.max(1, file.size) : 0;
  const analysed = timeline?.film.duration_s ? timeline.film.analysed_s / timeline.film.duration_s : undefined;
  const busy = stage.kind === "sending" || stage.kind === "analysing";
  return (
    <div className="grid gap-4 [&>*]:min-w-0">
      <section className="card" aria-labelledby="film-title">
        <div className="row">
          <h2 id="film-title" className="min-w-0 truncate">
            {file?.name}
          </h2>
          <button type="button" onClick={forget}>
            {busy ? "Give up" : "Another film"}
          </button>
        </div>
        {busy && (
          <>
            <progress
              aria-label={stage.kind === "sending" ? "Sent" : "Analysed"}
              className="mt-2 block h-3 w-full accent-accent"
              max={1}
              value={stage.kind === "sending" ? sent : analysed}
            />
            <p role="status" className="quiet">
              {stage.kind === "sending"
                ? `Sending: ${((film?.received_bytes ?? 0) / MB).toFixed(1)} of ${((file?.size ?? 0) / MB).toFixed(1)} MB confirmed`
                : film?.state === "waiting"
                  ? "Another film is analysed first; this one waits."
                  : `Analysing: ${clock(timeline?.film.analysed_s ?? 0)}${timeline?.film.duration_s ? ` of ${clock(timeline.film.duration_s)}` : ""}`}
            </p>
          </>
        )}
        {notice && <p role="status">{notice}</p>}
        {stage.kind === "failed" && (
          <div role="alert">
            <p>The film could not be analysed: {stage.why}.</p>
            {file && (
              <button type="button" onClick={() => void send(file)}>
                Try again
              </button>
            )}
          </div>
        )}
        {stage.kind === "done" && timeline && film && (
          <>
            <p role="status" className="quiet">
              {clock(lengthOf(timeline))} analysed by {timeline.model_version}; the film is deleted on the server.
            </p>
            <ul className="m-0 mb-3 flex list-none flex-wrap gap-x-4 gap-y-1 p-0" aria-label="Share of each emotion">
              {shares(timeline.windows).map(([label, share]) => (
                <li key={label}>
                  {label} {Math.round(100 * share)} %
                </li>
              ))}
            </ul>
            <div className="mb-3">
              <KeepSession kind="film" name={file?.name ?? "film"} timeline={() => keptOf(timeline)} />
            </div>
            <Downloads film_id={film.id} name={file?.name ?? "film"} />
          </>
        )}
      </section>
      {timeline && timeline.windows.length > 0 && (
        <Player
          timeline={timeline}
          {...(source ? { source } : {})}
          correctable={stage.kind === "done"}
          isSound={file?.type.startsWith("audio/") ?? false}
        />
      )}
    </div>
  );
}
