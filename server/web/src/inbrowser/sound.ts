// Sound as the speech encoder takes it: trimmed to speech, levelled, as log-mel or as samples. All of it at 16 kHz.
export const RATE_HZ = 16_000;
/** Samples of one frame of the voice detector. */
export const VOICE_FRAME = 512;

const SILENCE_DBFS = -70;
const LEVEL_FRAME = 0.02 * RATE_HZ;
const QUIET_DB = 40;
const PEAK = 0.99;

function powers(samples: Float32Array, frame: number, count: number): Float64Array {
  return Float64Array.from({ length: count }, (_, place) => {
    let sum = 0;
    for (let at = place * frame; at < (place + 1) * frame; at++) sum += (samples[at] ?? 0) ** 2;
    return sum / frame;
  });
}

/** Whether nothing can have been said. */
export function isSilent(samples: Float32Array): boolean {
  const loudest = Math.max(0, ...powers(samples, LEVEL_FRAME, Math.ceil(samples.length / LEVEL_FRAME)));
  return loudest <= 10 ** (SILENCE_DBFS / 10);
}

/** What lies between the first voiced frame and the last, and a margin; all where nobody speaks. */
export function trimmed(samples: Float32Array, voiced: Float32Array, threshold: number, margin_s: number): Float32Array {
  const first = voiced.findIndex((share) => share >= threshold);
  if (first < 0) return samples;
  const last = voiced.findLastIndex((share) => share >= threshold);
  const margin = Math.round(margin_s * RATE_HZ);
  return samples.subarray(
    Math.max(0, first * VOICE_FRAME - margin),
    Math.min(samples.length, (last + 1) * VOICE_FRAME + margin),
  );
}

/** Scaled so that the frames that carry sound have one level. */
export function levelled(samples: Float32Array, target_dbfs: number): Float32Array {
  const frame = Math.min(LEVEL_FRAME, samples.length);
  const power = powers(samples, frame, Math.max(1, Math.floor(samples.length / LEVEL_FRAME)));
  const loudest = power.reduce((most, each) => Math.max(most, each), 0);
  if (loudest === 0) return samples;
  const carrying = power.filter((each) => each >= loudest * 10 ** (-QUIET_DB / 10));
  const rms = Math.sqrt(carrying.reduce((sum, each) => sum + each, 0) / carrying.length);
  const peak = samples.reduce((most, each) => Math.max(most, Math.abs(each)), 0);
  const gain = Math.fround(Math.min(10 ** (target_dbfs / 20) / rms, PEAK / peak));
  return samples.map((sample) => sample * gain);
}

/** Filled up with silence to a shortest length. */
export function padded(samples: Float32Array, shortest: number): Float32Array {
  if (samples.length >= shortest) return samples;
  const longer = new Float32Array(shortest);
  longer.set(samples);
  return longer;
}

/** Zero mean and unit variance, as some networks were trained. */
export function standardised(samples: Float32Array): Float32Array {
  const mean = samples.reduce((sum, each) => sum + each, 0) / samples.length;
  const variance = samples.reduce((sum, each) => sum + (each - mean) ** 2, 0) / samples.length;
  return samples.map((sample) => (sample - mean) / Math.sqrt(variance + 1e-7));
}

/** 16-bit sound of any rate, piece by piece, as float samples of 16 kHz. */
export class Resampler {
  private kept = new Float32Array(0);
  private at = 0;

  constructor(private readonly rate_hz: number) {}

  next(pcm: Int16Array): Float32Array {
    const samples = Float32Array.from(pcm, (value) => value / 32768);
    if (this.rate_hz === RATE_HZ) return samples;
    const joined = new Float32Array(this.kept.length + samples.length);
    joined.set(this.kept);
    joined.set(samples, this.kept.length);
    // A sinc under a Hann window, as wide as 16 zero crossings; microphones of browsers that give 16 kHz never need it.
    const step = this.rate_hz / RATE_HZ;
    const band = Math.min(1, 1 / step);
    const reach = Math.ceil(16 / band);
    const made: number[] = [];
    for (; this.at + reach < joined.length; this.at += step) {
      let sum = 0;
      for (let tap = Math.max(0, Math.ceil(this.at - reach)); tap <= this.at + reach; tap++) {
        const away = tap - this.at;
        const x = Math.PI * away * band;
        const window = 0.5 + 0.5 * Math.cos((Math.PI * away) / reach);
        sum += (joined[tap] ?? 0) * band * (x === 0 ? 1 : Math.sin(x) / x) * window;
      }
      made.push(sum);
    }
    const used = Math.max(0, Math.floor(this.at) - reach);
    this.kept = joined.slice(used);
    this.at -= used;
    return Float32Array.from(made);
  }
}
