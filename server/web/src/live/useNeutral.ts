// Measuring a person's neutral look while answers come.
import { useCallback, useEffect, useRef, useState } from "react";
import type { Prediction } from "../api/client";
import { type Baseline, MEASURED_S, baselineOf } from "./neutral";

export type Neutral =
  | { kind: "none"; why?: string }
  | { kind: "measuring"; until_ms: number }
  | { kind: "measured"; baseline: Baseline; from: number };

export function useNeutral(answer: Prediction | undefined) {
  const [neutral, setNeutral] = useState<Neutral>({ kind: "none" });
  const answers = useRef<Record<string, number>[]>([]);
  const timer = useRef(0);

  useEffect(() => {
    if (neutral.kind === "measuring" && answer) answers.current.push(answer.probabilities);
  }, [answer, neutral.kind]);

  const measure = useCallback(() => {
    answers.current = [];
    setNeutral({ kind: "measuring", until_ms: performance.now() + 1000 * MEASURED_S });
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => {
      const baseline = baselineOf(answers.current);
      setNeutral(
        baseline
          ? { kind: "measured", baseline, from: answers.current.length }
          : { kind: "none", why: "Too few answers came in these seconds. Try again while answers come." },
      );
    }, 1000 * MEASURED_S);
  }, []);

  const forget = useCallback(() => {
    clearTimeout(timer.current);
    setNeutral({ kind: "none" });
  }, []);

  useEffect(() => () => clearTimeout(timer.current), []);
  return { neutral, measure, forget };
}
