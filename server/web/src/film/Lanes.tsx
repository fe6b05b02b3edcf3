import { useEffect, useRef, useSyncExternalStore } from "react";
import { SURE, colourOf } from "../live/emotions";
import { type Timeline, clock, lengthOf, nameOf, placeAt, shares, spanOf } from "./timeline";

interface Props {
  timeline: Timeline;
  /** The moment that is shown; without it there is no slider. */
  at_s?: number;
  onSeek?: (at_s: number) => void;
}

const LANE_PX = 26;
const FAINT = 0.35;

/** A lane for each sense and person, and a slider over them. Where a lane is not sure it is faint and low. */
export function Lanes({ timeline, at_s, onSeek }: Props) {
  const length_s = Math.max(lengthOf(timeline), 0.001);
  const place = at_s === undefined ? undefined : placeAt(timeline.windows, at_s);
  const now = place === undefined ? undefined : timeline.windows[place]?.lanes["fused"];
  const said = now ? (now.confidence >= SURE ? now.label : `not sure, perhaps ${now.label}`) : "nothing judged";
  return (
    <div className="relative mt-3">
      <ul className="m-0 list-none p-0" aria-label="Lanes">
        {timeline.lanes.map((lane) => (
          <li key={lane} className="grid grid-cols-[4.5rem_1fr] items-center gap-2">
            <span className="truncate text-sm">{nameOf(lane)}</span>
            <Lane timeline={timeline} lane={lane} length_s={length_s} />
          </li>
        ))}
      </ul>
      {at_s !== undefined && (
        <>
      <div className="relative grid grid-cols-[4.5rem_1fr] items-center gap-2">
        <span className="text-sm tabular-nums">{clock(at_s)}</span>
        <input
          type="range"
          className="-mx-2 w-[calc(100%+1rem)] !max-w-none !px-0"
          aria-label="Moment of the film"
          aria-valuetext={`${clock(at_s)} of ${clock(length_s)}, ${said}`}
          min={0}
          max={length_s}
          step={0.1}
          value={Math.min(at_s, length_s)}
          disabled={!onSeek}
          onChange={(event) => onSeek?.(Number(event.target.value))}
        />
      </div>
      <div aria-hidden className="pointer-events-none absolute inset-y-0 right-0 left-20">
        <div
          className="absolute top-0 bottom-0 w-0.5 bg-text"
          style={{ left: `${(100 * Math.min(at_s, length_s)) / length_s}%` }}
        />
      </div>
        </>
      )}
    </div>
  );
}

const wide = new Set<() => void>();
let resizes = 0;
window.addEventListener("resize", () => {
  resizes++;
  for (const each of wide) each();
});

function useResizes(): number {
  return useSyncExternalStore(
    (changed) => {
      wide.add(changed);
      return () => wide.delete(changed);
    },
    () => resizes,
  );
}

function Lane({ timeline, lane, length_s }: { timeline: Timeline; lane: string; length_s: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const resized = useResizes();
  useEffect(() => {
    const element = canvas.current;
    const context = element?.getContext("2d");
    if (!element || !context) return;
    const ratio = window.devicePixelRatio || 1;
    const width = element.clientWidth;
    element.width = Math.round(width * ratio);
    element.height = Math.round(LANE_PX * ratio);
    context.scale(ratio, ratio);
    for (const [place, window] of timeline.windows.entries()) {
      const judged = window.lanes[lane];
      if (!judged) continue;
      const [from, to] = spanOf(timeline, place).map(
        // On whole pixels, so that no line shows between two windows.
        (at) => Math.round((width * at * ratio) / length_s) / ratio,
      ) as [number, number];
      const high = 4 + (LANE_PX - 6) * judged.confidence;
      context.globalAlpha = judged.confidence >= SURE ? 1 : FAINT;
      context.fillStyle = colourOf(judged.label);
      context.fillRect(from, LANE_PX - 1 - high, Math.max(to - from, 1 / ratio), high);
    }
  }, [timeline, lane, length_s, resized]);
  const told = shares(timeline.windows, lane)
    .slice(0, 3)
    .map(([label, share]) => `${label} ${Math.round(100 * share)} %`);
  return (
    <canvas
      ref={canvas}
      role="img"
      aria-label={`${nameOf(lane)}: ${told.join(", ") || "nothing"}`}
      className="block h-[26px] w-full rounded bg-[color-mix(in_srgb,var(--text)_7%,var(--background))]"
    />
  );
}
