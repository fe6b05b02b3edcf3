// Colours that stay with their emotion, and what counts as sure. By Paul Tol's palettes, which the colour-blind can tell.
const COLOURS: Record<string, string> = {
  anger: "#cc3311",
  contempt: "#882255",
  disgust: "#117733",
  fear: "#aa3377",
  joy: "#ddaa33",
  sadness: "#0077bb",
  surprise: "#ee7733",
  neutral: "#8a8f98",
  calm: "#009988",
  excitement: "#ee3377",
  frustration: "#994455",
};

/** What people call the modalities. */
export const SENSES: Record<string, string> = { text: "words", audio: "voice", video: "face" };

/** Below this confidence the page says that it is not sure. */
export const SURE = 0.5;

/** Whether an answer is sure: by the threshold of its bundle's calibration where it came with one. */
export function isSure(answer: { confidence: number; threshold?: number | null }): boolean {
  return answer.confidence >= (answer.threshold ?? SURE);
}

export function colourOf(label: string): string {
  return COLOURS[label] ?? "#6b7280";
}

export function ranked(probabilities: Record<string, number>): [string, number][] {
  return Object.entries(probabilities).sort(([, a], [, b]) => b - a);
}

/** The value below which a share of all lies; by the nearest rank. */
export function quantile(values: number[], share: number): number | undefined {
  return [...values].sort((a, b) => a - b)[Math.max(0, Math.ceil(share * values.length) - 1)];
}
