// Log-mel spectrogram as Whisper was trained on: 25 ms Hann windows every 10 ms, Slaney's mel scale, log10.
import { RATE_HZ } from "./sound";

const HOP = 160;
const WINDOW = 400;
const BINS = WINDOW / 2 + 1;
const ROOT = 20;

const HANN = Float64Array.from({ length: WINDOW }, (_, at) => 0.5 - 0.5 * Math.cos((2 * Math.PI * at) / WINDOW));
const COS = Float64Array.from({ length: WINDOW }, (_, at) => Math.cos((2 * Math.PI * at) / WINDOW));
const SIN = Float64Array.from({ length: WINDOW }, (_, at) => Math.sin((2 * Math.PI * at) / WINDOW));

interface Band {
  first: number;
  weights: Float64Array;
}

const filtersOf = new Map<number, Band[]>();

/** Shape (bands, T), row by row; T is the number of whole hops. */
export function logMel(samples: Float32Array, bands: number): { data: Float32Array; frames: number } {
  const length = Math.max(samples.length, WINDOW);
  const frames = Math.floor(length / HOP);
  const filters = filtersOf.get(bands) ?? melFilters(bands);
  filtersOf.set(bands, filters);
  const half = WINDOW / 2;
  const sample = (at: number) => samples[at < 0 ? -at : at >= length ? 2 * (length - 1) - at : at] ?? 0;
  const window = new Float64Array(WINDOW);
  const power = new Float64Array(BINS);
  const spectrum = new Float64Array(bands * frames);
  let most = -Infinity;
  for (let frame = 0; frame < frames; frame++) {
    for (let at = 0; at < WINDOW; at++) window[at] = sample(frame * HOP + at - half) * HANN[at]!;
    powerOf(window, power);
    filters.forEach(({ first, weights }, band) => {
      let sum = 0;
      for (let tap = 0; tap < weights.length; tap++) sum += power[first + tap]! * weights[tap]!;
      const level = Math.log10(Math.max(sum, 1e-10));
      spectrum[band * frames + frame] = level;
      most = Math.max(most, level);
    });
  }
  return { data: Float32Array.from(spectrum, (level) => (Math.max(level, most - 8) + 4) / 4), frames };
}

const columns = { re: new Float64Array(WINDOW), im: new Float64Array(WINDOW) };

/** |DFT|² of 400 real values, as 20 times 20: n = 20 a + b, k = c + 20 d. */
function powerOf(values: Float64Array, power: Float64Array): void {
  const { re, im } = columns;
  for (let b = 0; b < ROOT; b++) {
    for (let c = 0; c < ROOT; c++) {
      let [x, y] = [0, 0];
      for (let a = 0, turn = 0; a < ROOT; a++, turn = (turn + ROOT * c) % WINDOW) {
        const value = values[ROOT * a + b]!;
        x += value * COS[turn]!;
        y -= value * SIN[turn]!;
      }
      const twiddle = b * c;
      re[ROOT * c + b] = x * COS[twiddle]! + y * SIN[twiddle]!;
      im[ROOT * c + b] = y * COS[twiddle]! - x * SIN[twiddle]!;
    }
  }
  for (let k = 0; k < BINS; k++) {
    const [c, d] = [k % ROOT, Math.floor(k / ROOT)];
    let [x, y] = [0, 0];
    for (let b = 0, turn = 0; b < ROOT; b++, turn = (turn + ROOT * d) % WINDOW) {
      const [u, v] = [re[ROOT * c + b]!, im[ROOT * c + b]!];
      x += u * COS[turn]! + v * SIN[turn]!;
      y += v * COS[turn]! - u * SIN[turn]!;
    }
    power[k] = x * x + y * y;
  }
}

function melFilters(bands: number): Band[] {
  const top = melOf(RATE_HZ / 2);
  const edges = Array.from({ length: bands + 2 }, (_, at) => hzOf((top * at) / (bands + 1)));
  const frequencies = Array.from({ length: BINS }, (_, at) => (RATE_HZ / 2 / (BINS - 1)) * at);
  return Array.from({ length: bands }, (_, band) => {
    const [low, centre, high] = [edges[band]!, edges[band + 1]!, edges[band + 2]!];
    const all = frequencies.map(
      (hz) =>
        Math.max(0, Math.min((hz - low) / (centre - low), (high - hz) / (high - centre))) * (2 / (high - low)),
    );
    const first = Math.max(0, all.findIndex((weight) => weight > 0));
    return { first, weights: Float64Array.from(all.slice(first, all.findLastIndex((weight) => weight > 0) + 1)) };
  });
}

const LINEAR_HZ = 200 / 3;
const BREAK_HZ = 1000;
const BREAK_MEL = BREAK_HZ / LINEAR_HZ;
const LOG_STEP = Math.log(6.4) / 27;

function melOf(hz: number): number {
  return hz < BREAK_HZ ? hz / LINEAR_HZ : BREAK_MEL + Math.log(hz / BREAK_HZ) / LOG_STEP;
}

function hzOf(mel: number): number {
  return mel < BREAK_MEL ? mel * LINEAR_HZ : BREAK_HZ * Math.exp(LOG_STEP * (mel - BREAK_MEL));
}
