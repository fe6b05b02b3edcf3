// A film's timeline as it grows, and questions that the view has about it.
import { client, given } from "../api/client";
import type { components } from "../api/schema";
import { SURE } from "../live/emotions";
import type { KeptTimeline } from "../sessions/keep";

type Reply = components["schemas"]["TimelineReply"];
export type FilmWindow = components["schemas"]["FilmWindowReply"];
export type Said = components["schemas"]["SaidReply"];
export type Timeline = Reply;

/** What is known by now, put behind what was known before. */
export async function grown(film_id: string, before: Timeline | undefined, signal: AbortSignal): Promise<Timeline> {
  const first = before?.windows.length ?? 0;
  const next = given(
    await client.GET("/v1/films/{film_id}/timeline", { params: { path: { film_id }, query: { first } }, signal }),
  );
  return { ...next, first: 0, windows: [...(before?.windows ?? []), ...next.windows] };
}

export function middleOf(window: { start_s: number; end_s: number }): number {
  return (window.start_s + window.end_s) / 2;
}

/** How long the film is, as far as anybody knows. */
export function lengthOf(timeline: Timeline): number {
  return timeline.film.duration_s ?? timeline.film.analysed_s;
}

/** From when to when a window is drawn: where it is nearer than its neighbours. */
export function spanOf(timeline: Timeline, place: number): [number, number] {
  const { windows } = timeline;
  const middle = middleOf(windows[place]!);
  const before = windows[place - 1];
  const after = windows[place + 1];
  const whole = timeline.film.state === "done";
  return [
    before ? (middleOf(before) + middle) / 2 : 0,
    after ? (middle + middleOf(after)) / 2 : whole ? lengthOf(timeline) : middle + timeline.hop_s / 2,
  ];
}

/** The number of the window that a moment belongs to; undefined before anything is judged. */
export function placeAt(windows: readonly FilmWindow[], at_s: number): number | undefined {
  let low = 0;
  let high = windows.length - 1;
  if (high < 0) return undefined;
  while (low < high) {
    const half = (low + high) >> 1;
    if ((middleOf(windows[half]!) + middleOf(windows[half + 1]!)) / 2 <= at_s) low = half + 1;
    else high = half;
  }
  return low;
}

/** How the share of each emotion comes out over the windows that were sure. */
export function shares(windows: readonly FilmWindow[], lane = "fused"): [string, number][] {
  const counts = new Map<string, number>();
  let all = 0;
  for (const window of windows) {
    const judged = window.lanes[lane];
    if (!judged) continue;
    all++;
    const label = judged.confidence >= SURE ? judged.label : "not sure";
    counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  return [...counts].map(([label, count]): [string, number] => [label, count / all]).sort((a, b) => b[1] - a[1]);
}

export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const tail = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}

export function nameOf(lane: string): string {
  if (lane === "fused") return "together";
  return lane.startsWith("person-") ? `person ${lane.slice("person-".length)}` : lane;
}

/** What is kept of it where the person chooses so. */
export function keptOf(timeline: Timeline): KeptTimeline {
  const { labels, lanes, model_version, windows, words, changes } = timeline;
  return {
    labels,
    lanes,
    model_version,
    words,
    changes,
    windows: windows.map((each) => ({ start_s: each.start_s, end_s: each.end_s, lanes: each.lanes, source: "cloud" })),
  };
}
