// Figures and moments as people read them.
export const share = (value: number): string => value.toFixed(3);

export function bytes(count: number): string {
  let value = count;
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (value < 1000) return unit === "B" ? `${value} B` : `${value.toFixed(1)} ${unit}`;
    value /= 1000;
  }
  return `${value.toFixed(1)} TB`;
}

export function seconds(value: number | null): string {
  if (value === null) return "–";
  if (value < 60) return `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  return whole < 3600 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

export const moment = (said: string | null): string =>
  said === null ? "–" : new Date(said).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

/** `4 answered, 1 refused`. */
export const counted = (states: Record<string, number>): string =>
  Object.entries(states)
    .map(([state, count]) => `${count} ${state}`)
    .join(", ");

/** `2 × it is on its battery`. */
export const reasons = (found: Record<string, number>): string =>
  Object.entries(found)
    .map(([reason, count]) => (count > 1 ? `${count} × ${reason}` : reason))
    .join("; ");

/** `ravdess 0.714 → 0.709`. */
export const guarded = (guard: Record<string, number[]>): string =>
  Object.entries(guard)
    .map(([name, [before, after]]) => `${name} ${share(before ?? 0)} → ${share(after ?? 0)}`)
    .join(", ");

export const FIGURES: Record<string, string> = {
  uar: "UAR",
  accuracy: "accuracy",
  weighted_f1: "weighted F1",
  macro_f1: "macro F1",
  macro_precision: "macro precision",
  macro_recall: "macro recall",
  loss: "cross-entropy",
};

/** How a name is set: a short one is not broken at its hyphens, a long one wherever there is need. */
export const named = (name: string): string => (name.length > 24 ? "[overflow-wrap:anywhere]" : "whitespace-nowrap");
