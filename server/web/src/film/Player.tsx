import { type RefObject, useEffect, useRef, useState } from "react";
import { SURE, colourOf } from "../live/emotions";
import { Lanes } from "./Lanes";
import { WindowFeedback } from "./WindowFeedback";
import { Words } from "./Words";
import { type FilmWindow, type Timeline, clock, nameOf, placeAt } from "./timeline";

interface Props {
  timeline: Timeline;
  /** The film itself, which plays from the person's own disk; none where only the timeline is known. */
  source?: string;
  isSound?: boolean;
  /** Whether answers may be corrected. */
  correctable?: boolean;
}

/** A timeline over the film that it was made of. */
export function Player({ timeline, source, isSound, correctable }: Props) {
  const media = useRef<HTMLVideoElement>(null);
  const [at_s, setAt] = useState(0);
  const [unplayable, setUnplayable] = useState(false);
  useFrames(media, setAt);

  function seek(to_s: number) {
    setAt(to_s);
    if (media.current) media.current.currentTime = to_s;
  }

  const place = placeAt(timeline.windows, at_s);
  const now = place === undefined ? undefined : timeline.windows[place];
  const before = timeline.changes.findLast((each) => each.at_s < at_s - 0.3);
  const after = timeline.changes.find((each) => each.at_s > at_s + 0.05);
  return (
    <>
      <section className="card" aria-labelledby="timeline-title">
        <h2 id="timeline-title">Timeline</h2>
        <div className={`mt-3 grid gap-4 ${source ? "md:grid-cols-[minmax(0,3fr)_minmax(0,2fr)]" : ""}`}>
          {source && (
            <div>
              <video
                ref={media}
                src={source}
                controls
                playsInline
                aria-label="The film"
                className={`block w-full rounded-lg bg-[#101216] ${isSound ? "h-20" : "aspect-video max-h-96"}`}
                onError={() => setUnplayable(true)}
              />
              {unplayable && (
                <p className="quiet">This browser cannot play the film; the timeline is complete all the same.</p>
              )}
            </div>
          )}
          <div className="min-w-0">
            <Now at_s={at_s} window={now} lanes={timeline.lanes} />
            {correctable && (
              <WindowFeedback window={now} labels={timeline.labels} model_version={timeline.model_version} />
            )}
          </div>
        </div>
        <Lanes timeline={timeline} at_s={at_s} onSeek={seek} />
        <div className="row start mt-3">
          <button type="button" disabled={!before} onClick={() => before && seek(before.at_s)}>
            ◂ Change before
          </button>
          <button type="button" disabled={!after} onClick={() => after && seek(after.at_s)}>
            Next change ▸
          </button>
          <p className="quiet m-0">
            {timeline.changes.length === 0
              ? "No change that is sure."
              : timeline.changes.length === 1
                ? "One change."
                : `${timeline.changes.length} changes.`}{" "}
            Faint and low is not sure.
          </p>
        </div>
        <ul className="m-0 mt-3 flex list-none flex-wrap gap-x-4 gap-y-1 p-0 text-sm" aria-label="Colours">
          {timeline.labels.map((label) => (
            <li key={label} className="flex items-center gap-1.5">
              <span className="size-3 rounded-sm" style={{ backgroundColor: colourOf(label) }} />
              {label}
            </li>
          ))}
        </ul>
        {timeline.notes.length > 0 && <p className="quiet">{timeline.notes.join(". ")}.</p>}
      </section>
      {(timeline.words.length > 0 || timeline.words_note) && (
        <Words timeline={timeline} at_s={at_s} onSeek={seek} />
      )}
    </>
  );
}

/** Follows the player from picture to picture. */
function useFrames(media: RefObject<HTMLVideoElement | null>, onTime: (at_s: number) => void): void {
  useEffect(() => {
    let frame = 0;
    let last = -1;
    const look = () => {
      frame = requestAnimationFrame(look);
      const at_s = media.current?.currentTime;
      if (at_s === undefined || Math.abs(at_s - last) < 0.05) return;
      // Before anything was played, the slider is moved alone.
      if (last !== -1 || at_s > 0) onTime(at_s);
      last = at_s;
    };
    frame = requestAnimationFrame(look);
    return () => cancelAnimationFrame(frame);
  }, [media, onTime]);
}

function Now(props: { at_s: number; window: FilmWindow | undefined; lanes: string[] }) {
  const { at_s, window, lanes } = props;
  const fused = window?.lanes["fused"];
  const sure = fused !== undefined && fused.confidence >= SURE;
  return (
    <>
      <p className="m-0 text-2xl first-letter:uppercase">{!fused ? "Nothing judged" : sure ? fused.label : "not sure"}</p>
      <p className="quiet min-h-[2lh]">
        {fused
          ? `At ${clock(at_s)}: ${sure ? "" : `perhaps ${fused.label}, `}confidence ${percent(fused.confidence)}`
          : (window?.note ?? `At ${clock(at_s)}`)}
      </p>
      <table className="w-full border-collapse text-sm">
        <caption className="sr-only">What each sense and person says at this moment</caption>
        <tbody>
          {lanes
            .filter((lane) => lane !== "fused")
            .map((lane) => {
              const judged = window?.lanes[lane];
              return (
                <tr key={lane} className="border-t border-line">
                  <th scope="row" className="py-1 pr-2 text-left font-normal">
                    {nameOf(lane)}
                  </th>
                  <td className="py-1 pr-2">
                    {judged && (
                      <span className="flex items-center gap-1.5">
                        <span
                          className="size-3 flex-none rounded-sm"
                          style={{ backgroundColor: colourOf(judged.label) }}
                        />
                        {judged.label}
                      </span>
                    )}
                  </td>
                  <td className="py-1 text-right tabular-nums">{judged ? percent(judged.confidence) : "–"}</td>
                </tr>
              );
            })}
        </tbody>
      </table>
    </>
  );
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}
