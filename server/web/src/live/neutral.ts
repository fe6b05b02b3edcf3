// A person's neutral look, measured in three seconds: how far the answers to it lie from those to a neutral face in
// general. That is taken off the logarithms of later answers, on this page alone.
import type { Prediction } from "../api/client";

export const MEASURED_S = 3;
/** Fewer answers say too little. */
const LEAST = 4;
/** What a neutral look should get, as a share; the rest is shared out evenly. */
const NEUTRAL = 0.6;
/** No label is moved by more than this factor, so that what somebody shows clearly is not turned around. */
const MOST = Math.log(4);

/** By label, what is taken off the logarithm of its probability. */
export type Baseline = Record<string, number>;

/** The baseline of answers to a neutral look; undefined where there are too few. */
export function baselineOf(answers: Record<string, number>[]): Baseline | undefined {
  const [first] = answers;
  if (!first || answers.length < LEAST) return undefined;
  const labels = Object.keys(first);
  const rest = "neutral" in first ? (1 - NEUTRAL) / (labels.length - 1) : 1 / labels.length;
  return Object.fromEntries(
    labels.map((label) => {
      const mean = answers.reduce((sum, each) => sum + log(each[label]), 0) / answers.length;
      const moved = mean - Math.log(label === "neutral" ? NEUTRAL : rest);
      return [label, Math.max(-MOST, Math.min(MOST, moved))];
    }),
  );
}

/** An answer as it is after a baseline was taken off. */
export function adjusted<T extends Prediction>(answer: T, baseline: Baseline | undefined): T {
  if (!baseline) return answer;
  const raised = Object.entries(answer.probabilities).map(
    ([label, share]) => [label, Math.exp(log(share) - (baseline[label] ?? 0))] as const,
  );
  const total = raised.reduce((sum, [, each]) => sum + each, 0);
  const probabilities = Object.fromEntries(raised.map(([label, each]) => [label, each / total]));
  const [label, confidence] = Object.entries(probabilities).reduce((best, each) => (each[1] > best[1] ? each : best));
  return { ...answer, probabilities, label, confidence };
}

function log(share: number | undefined): number {
  return Math.log(Math.max(share ?? 0, 1e-6));
}
