// Voice to tokens: Silero's voice detector, the front end that the manifest names, the speech network, pooling.
import { logMel } from "./logMel";
import type { EncoderEntry } from "./manifest";
import type { Network } from "./networks";
import { RATE_HZ, VOICE_FRAME, levelled, padded, standardised, trimmed } from "./sound";
import { type Scale, type Tokens, pooled } from "./tokens";

const CONTEXT = 64;
const UNITS = 128;
const BLOCK = 512;

/** What of a manifest's `preprocessing` says how sound is prepared; the defaults are the device's. */
export interface SpeechSettings {
  front_end: "log_mel" | "waveform";
  frames_per_second: number;
  tokens_per_second: number;
  statistics: string;
  mel_bands: number;
  standardise: boolean;
  loudness_dbfs: number;
  voice_threshold: number;
  voice_margin_s: number;
  min_seconds: number;
  max_seconds: number;
}

const DEFAULTS = {
  frames_per_second: 50,
  tokens_per_second: 2.5,
  statistics: "mean_std",
  mel_bands: 80,
  standardise: false,
  loudness_dbfs: -23,
  voice_threshold: 0.5,
  voice_margin_s: 0.1,
  min_seconds: 0.2,
  max_seconds: 30,
};

/** Probability that somebody speaks, of sound that goes on: what was heard stays in the network's state. */
export class VoiceFollower {
  private hidden: Float32Array = new Float32Array(UNITS);
  private cell: Float32Array = new Float32Array(UNITS);
  private context = new Float32Array(CONTEXT);

  constructor(private readonly network: Network) {}

  /** One probability for every 512 samples, of which there is a whole number. */
  async feed(samples: Float32Array): Promise<Float32Array> {
    const frames = samples.length / VOICE_FRAME;
    const found = new Float32Array(frames);
    for (let start = 0; start < frames; start += BLOCK) {
      const count = Math.min(BLOCK, frames - start);
      const blocks = new Float32Array(count * (CONTEXT + VOICE_FRAME));
      for (let place = 0; place < count; place++) {
        const at = (start + place) * VOICE_FRAME;
        const to = place * (CONTEXT + VOICE_FRAME);
        blocks.set(at === 0 ? this.context : samples.subarray(at - CONTEXT, at), to);
        blocks.set(samples.subarray(at, at + VOICE_FRAME), to + CONTEXT);
      }
      const state = [1, 1, UNITS];
      const told = await this.network.run({
        input: { data: blocks, dims: [count, CONTEXT + VOICE_FRAME] },
        h: { data: this.hidden, dims: state },
        c: { data: this.cell, dims: state },
      });
      found.set(told["speech_probs"]!.data as Float32Array, start);
      this.hidden = told["hn"]!.data as Float32Array;
      this.cell = told["cn"]!.data as Float32Array;
    }
    if (frames) this.context = samples.slice(samples.length - CONTEXT);
    return found;
  }
}

export class SpeechEncoder {
  readonly settings: SpeechSettings;

  constructor(
    entry: EncoderEntry,
    private readonly network: Network,
    private readonly voice: Network,
    private readonly scale: Scale | undefined,
  ) {
    this.settings = { ...DEFAULTS, ...(entry.preprocessing as unknown as SpeechSettings) };
  }

  follow(): VoiceFollower {
    return new VoiceFollower(this.voice);
  }

  /** Whether anybody speaks in frames of these probabilities. */
  isVoiced(voiced: Float32Array): boolean {
    return voiced.some((share) => share >= this.settings.voice_threshold);
  }

  /** Tokens of a sound, given the probability of each of its frames that somebody speaks. */
  async encode(samples: Float32Array, voiced: Float32Array): Promise<Tokens> {
    const { settings } = this;
    const spoken = levelled(
      trimmed(samples, voiced, settings.voice_threshold, settings.voice_margin_s),
      settings.loudness_dbfs,
    );
    const whole = padded(spoken, Math.round(settings.min_seconds * RATE_HZ));
    const { data, dims } = this.frontEnd(whole);
    const told = await this.network.run({ [settings.front_end]: { data, dims } });
    const { data: features, dims: shape } = told[this.network.outputs[0]!]!;
    const frames = { data: features as Float32Array, count: shape[1]!, width: shape[2]! };
    const tokens = pooled(frames, settings.frames_per_second, settings.tokens_per_second, settings.statistics);
    return this.scale ? this.scale.scaled(tokens) : tokens;
  }

  private frontEnd(samples: Float32Array): { data: Float32Array; dims: number[] } {
    if (this.settings.front_end === "log_mel") {
      const { data, frames } = logMel(samples, this.settings.mel_bands);
      return { data, dims: [1, this.settings.mel_bands, frames] };
    }
    return { data: this.settings.standardise ? standardised(samples) : samples, dims: [1, samples.length] };
  }
}
