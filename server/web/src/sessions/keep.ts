// Keeps a session on the server, where the person chose so; and makes what is kept of live answers.
import { type Prediction, client, given } from "../api/client";
import type { components } from "../api/schema";
import { SENSES, SURE } from "../live/emotions";

export type KeptTimeline = components["schemas"]["KeptTimeline"];
export type KeptWindow = components["schemas"]["KeptWindow"];
export type KeptSession = components["schemas"]["SessionReply"];

export interface ToKeep {
  kind: "film" | "live";
  name: string;
  notes?: string;
  timeline: KeptTimeline;
}

/** Keep a session; throws `Refused` with the server's reason. */
export async function keepSession(session: ToKeep): Promise<KeptSession> {
  return given(await client.POST("/v1/sessions", { body: { notes: "", ...session } }));
}

/** An answer of a live stream, with the seconds that it is about. */
export interface TimedAnswer {
  start_s: number;
  end_s: number;
  answer: Pick<Prediction, "label" | "probabilities" | "confidence" | "model_version" | "modalities"> & {
    source: string;
    by_modality?: Record<string, Record<string, number>> | null;
  };
}

function judged(probabilities: Record<string, number>, labels: string[]) {
  const values = labels.map((label) => Math.min(1, Math.max(0, probabilities[label] ?? 0)));
  const best = values.indexOf(Math.max(...values));
  return { label: labels[best] ?? "", confidence: values[best] ?? 0, probabilities: values };
}

/** What is kept of live answers: no pictures, no sound, no boxes; only what was answered when. */
export function timelineOf(answers: readonly TimedAnswer[]): KeptTimeline {
  const labels = Object.keys(answers[0]?.answer.probabilities ?? {});
  const windows = answers.map(({ start_s, end_s, answer }): KeptWindow => {
    const lanes: KeptWindow["lanes"] = { fused: judged(answer.probabilities, labels) };
    for (const [modality, shares] of Object.entries(answer.by_modality ?? {}))
      lanes[SENSES[modality] ?? modality] = judged(shares, labels);
    return { start_s, end_s, lanes, source: answer.source === "edge" ? "edge" : "cloud" };
  });
  const lanes = ["fused", "face", "voice", "words"].filter((lane) => windows.some((each) => each.lanes[lane]));
  const model_version = answers.at(-1)?.answer.model_version ?? "";
  return { labels, lanes, model_version, windows, words: [], changes: changesOf(windows) };
}

/** Where a sure emotion becomes another one and stays for two windows, as the server counts for films. */
export function changesOf(windows: readonly KeptWindow[]): NonNullable<KeptTimeline["changes"]> {
  const sure = windows.flatMap((window) => {
    const fused = window.lanes["fused"];
    return fused && fused.confidence >= SURE ? [{ at_s: (window.start_s + window.end_s) / 2, ...fused }] : [];
  });
  const held = sure.filter((each, place) => sure[place + 1]?.label === each.label);
  return held.flatMap((each, place) => {
    const before = held[place - 1];
    return before && before.label !== each.label
      ? [{ at_s: each.at_s, before: before.label, after: each.label, confidence: each.confidence }]
      : [];
  });
}
