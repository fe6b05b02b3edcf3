// The answers of a live session, one a second, in this page alone: for whoever chooses to keep the session.
import { useCallback, useEffect, useRef } from "react";
import { type KeptTimeline, keepAnswer, nothingKept, timelineOf } from "../sessions/keep";
import type { Answer } from "./stream";

const EVERY_S = 1;
/** An hour of them. */
const MOST = 3600;

export function useKept(answer: Answer | undefined): { timeline: () => KeptTimeline; forget: () => void } {
  const kept = useRef(nothingKept());
  const began = useRef(Number.NaN);

  useEffect(() => {
    if (!answer) return;
    const now_s = performance.now() / 1000;
    const window_s = answer.window_end_s - answer.window_start_s;
    const { windows } = kept.current;
    if (windows.length === 0) began.current = now_s - window_s;
    // By this page's clock: the stream's begins again where a server was away.
    const end_s = now_s - began.current;
    const last = windows.at(-1);
    if (windows.length >= MOST || (last && end_s - last.end_s < EVERY_S)) return;
    keepAnswer(kept.current, { start_s: Math.max(0, end_s - window_s), end_s, answer });
  }, [answer]);

  const timeline = useCallback(() => timelineOf(kept.current), []);
  const forget = useCallback(() => {
    kept.current = nothingKept();
  }, []);
  return { timeline, forget };
}
