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

/** What is kept of a live session: no pictures, no sound, no boxes; only what was answered when. */
export interface KeptAnswers {
  labels: string[];
  model_version: string;
  windows: KeptWindow[];
}

export function nothingKept(): KeptAnswers {
  return { labels: [], model_version: "", windows: [] };
}

/** Keep one more answer: the fields that are sent, and nothing that holds the rest of it. */
export function keepAnswer(kept: KeptAnswers, { start_s, end_s, answer }: TimedAnswer): void {
  if (kept.windows.length === 0) kept.labels = Object.keys(answer.probabilities);
  const lanes: KeptWindow["lanes"] = { fused: judged(answer.probabilities, kept.labels) };
  for (const [modality, shares] of Object.entries(answer.by_modality ?? {}))
    lanes[SENSES[modality] ?? modality] = judged(shares, kept.labels);
  kept.windows.push({ start_s, end_s, lanes, source: answer.source === "edge" ? "edge" : "cloud" });
  kept.model_version = answer.model_version;
}

export function timelineOf({ labels, model_version, windows }: KeptAnswers): KeptTimeline {
  const lanes = ["fused", "face", "voice", "words"].filter((lane) => windows.some((each) => each.lanes[lane]));
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
