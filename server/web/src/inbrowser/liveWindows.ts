// A stream cut into overlapping windows, as the device's `runtime/windows`: every picture and sound is worked on once.
import { type Answer, type Device, NO_VOICE, type Taken } from "./device";
import type { Face } from "./faceDetector";
import { FaceTrack } from "./faceTrack";
import { type Modality, Unable } from "./manifest";
import type { Picture } from "./pillow";
import { RATE_HZ, Resampler, VOICE_FRAME, isSilent } from "./sound";
import type { VoiceFollower } from "./speech";
import { joined, spread } from "./tokens";
import { isBlank, isCrop } from "./vision";

export const WINDOW_S = 3;
export const HOP_S = 0.5;
const SMOOTHING_S = 1;
const KEEP_S = WINDOW_S + HOP_S;
/** Answers take at most one part of so many of the time. */
const BUSY = 2;
const LOST_S = 1;
const ROUNDING_S = 5e-4;

export interface WindowAnswer extends Answer {
  window_start_s: number;
  window_end_s: number;
}

/** The last seconds of sound, and when in them somebody spoke. */
class Hearing {
  private samples = new Float32Array(0);
  private voiced = new Float32Array(0);
  private first = 0;
  private follower: VoiceFollower | undefined;
  private readonly resampler: Resampler;
  heard_s: number;

  constructor(
    private readonly device: Device,
    rate_hz: number,
    begins_s: number,
  ) {
    this.resampler = new Resampler(rate_hz);
    this.heard_s = begins_s;
    this.first = Math.round(begins_s * RATE_HZ);
  }

  async add(pcm: Int16Array): Promise<void> {
    const fresh = this.resampler.next(pcm);
    this.heard_s += fresh.length / RATE_HZ;
    const samples = new Float32Array(this.samples.length + fresh.length);
    samples.set(this.samples);
    samples.set(fresh, this.samples.length);
    const known = this.voiced.length;
    const whole = Math.floor(samples.length / VOICE_FRAME);
    this.follower ??= (await this.device.audio()).follow();
    const told = await this.follower.feed(samples.subarray(known * VOICE_FRAME, whole * VOICE_FRAME));
    const drop = Math.max(0, whole - Math.round((KEEP_S * RATE_HZ) / VOICE_FRAME));
    const voiced = new Float32Array(known + told.length);
    voiced.set(this.voiced);
    voiced.set(told, known);
    this.voiced = voiced.slice(drop);
    this.samples = samples.slice(drop * VOICE_FRAME);
    this.first += drop * VOICE_FRAME;
  }

  async take(start_s: number, end_s: number, othersSure: boolean): Promise<Taken | undefined> {
    const frame = (at_s: number) => Math.trunc(Math.trunc(at_s * RATE_HZ - this.first) / VOICE_FRAME);
    const [start, stop] = [Math.max(0, frame(start_s)), Math.min(this.voiced.length, frame(end_s))];
    if (stop <= start) return undefined;
    const samples = this.samples.slice(start * VOICE_FRAME, stop * VOICE_FRAME);
    if (isSilent(samples)) return { left_out: "the sound is silent; check the microphone or leave audio out" };
    const encoder = await this.device.audio();
    const voiced = this.voiced.slice(start, stop);
    if (encoder.isVoiced(voiced)) return { tokens: await encoder.encode(samples, voiced) };
    return othersSure ? { left_out: NO_VOICE } : { tokens: await encoder.encode(samples, voiced), doubt: NO_VOICE };
  }
}

/** The last seconds of pictures: a token of each in which there was a face. */
class Sight {
  private readonly seen: { time_s: number; token: Float32Array | undefined }[] = [];
  private track: FaceTrack | undefined;
  private due_s = -Infinity;

  constructor(private readonly device: Device) {}

  /** Every picture moves the box; those that come faster than the encoder's pace give no token. */
  async add(picture: Picture, time_s: number): Promise<Face | undefined> {
    const encoder = await this.device.video();
    this.track ??= new FaceTrack(encoder.detector);
    const face = await this.track.follow(picture, time_s);
    if (time_s + ROUNDING_S < this.due_s) return face;
    const step_s = 1 / encoder.settings.frames_per_second;
    this.due_s = (time_s - this.due_s < step_s / 2 ? this.due_s : time_s) + step_s;
    let token: Float32Array | undefined;
    if (face || (isCrop(picture) && !isBlank(picture))) {
      const quarter = face && encoder.wholeAfter([face], picture);
      const whole = !face || quarter !== undefined;
      [token] = await encoder.encode(encoder.cutOut([picture], whole ? undefined : [face], quarter ?? 0));
    }
    this.seen.push({ time_s, token });
    while (this.seen[0] && this.seen[0].time_s < time_s - KEEP_S) this.seen.shift();
    return face;
  }

  async take(start_s: number, end_s: number): Promise<Taken | undefined> {
    const within = this.seen.filter(({ time_s }) => start_s <= time_s + ROUNDING_S && time_s + ROUNDING_S < end_s);
    if (within.length === 0) return undefined;
    const faces = within.flatMap(({ token }) => (token ? [token] : []));
    if (faces.length === 0) return { left_out: "no face was found; turn the camera to the face or come nearer" };
    const { settings } = await this.device.video();
    return { tokens: joined(spread(faces.length, settings.most_frames).map((place) => faces[place]!)) };
  }
}

/** Pictures, sound and words of one stream, and an answer for each window. */
export class LiveWindows {
  private readonly sight: Sight;
  private hearing: Hearing | undefined;
  private said: { text: string; time_s: number }[] = [];
  private words: { text: string; taken: Taken } | undefined;
  private steady: { shares: Record<string, number>; time_s: number } | undefined;
  private next_s = HOP_S;
  private shown_s = 0;

  constructor(
    private readonly device: Device,
    private readonly rate_hz: number,
  ) {
    this.sight = new Sight(device);
  }

  /** The next 16-bit sound, which begins at that time of the stream. What comes before its encoder is open is let go. */
  async hear(pcm: Int16Array, begins_s: number): Promise<void> {
    if (!this.device.isOpen("audio")) return;
    // Where sound was lost on its way, it begins anew at its own time.
    if (this.hearing && begins_s - this.hearing.heard_s > LOST_S) this.hearing = undefined;
    this.hearing ??= new Hearing(this.device, this.rate_hz, begins_s);
    await this.hearing.add(pcm);
  }

  async see(picture: Picture, time_s: number): Promise<Face | undefined> {
    if (!this.device.isOpen("video")) return undefined;
    this.shown_s = time_s;
    return await this.sight.add(picture, time_s);
  }

  say(text: string, time_s: number): void {
    this.said.push({ text, time_s: Math.min(time_s, this.reached_s) });
  }

  /** Where windows may end by now: the sound's clock, as long as sound comes. */
  get reached_s(): number {
    const heard_s = this.hearing?.heard_s ?? -Infinity;
    return heard_s > this.shown_s - LOST_S ? heard_s : this.shown_s + ROUNDING_S;
  }

  /** The newest window that was not answered yet; nothing where none is due or there is nothing to go by. */
  async due(): Promise<WindowAnswer | undefined> {
    const end_s = HOP_S * Math.floor((this.reached_s + 1e-6) / HOP_S);
    if (end_s < this.next_s) return undefined;
    const began = performance.now();
    const answer = await this.window(end_s);
    // A slow machine answers less often, so that the face is followed all the same.
    const spent_s = (performance.now() - began) / 1000;
    this.next_s = end_s + HOP_S * Math.max(1, Math.ceil((BUSY * spent_s) / HOP_S));
    return answer;
  }

  private async window(end_s: number): Promise<WindowAnswer | undefined> {
    const began = performance.now();
    const start_s = end_s - WINDOW_S;
    const taken: Partial<Record<Modality, Taken>> = {};
    // Words that came before their encoder is there count from when it is.
    if (!this.device.isOpen("text")) for (const each of this.said) each.time_s = end_s - HOP_S;
    this.said = this.said.filter(({ time_s }) => time_s >= start_s);
    const text = this.said.filter(({ time_s }) => time_s < end_s).map((each) => each.text).join(" ");
    if (text && !this.device.isOpen("text")) {
      taken.text = { left_out: "its encoder is still being fetched" };
    } else if (text) {
      if (this.words?.text !== text) this.words = { text, taken: await this.device.words(text) };
      taken.text = this.words.taken;
    }
    const seen = await this.sight.take(start_s, end_s);
    if (seen) taken.video = seen;
    const sure = Boolean(seen?.tokens) || Boolean(taken.text?.tokens && !taken.text.doubt);
    const heard = await this.hearing?.take(start_s, end_s, sure);
    if (heard) taken.audio = heard;
    try {
      const answer = this.steadied(await this.device.fused(taken), end_s);
      return { ...answer, window_start_s: Math.max(0, start_s), window_end_s: end_s, latency_ms: performance.now() - began };
    } catch (error) {
      // A window with nothing to go by has no answer; the next may have.
      if (error instanceof Unable) return undefined;
      throw error;
    }
  }

  /** An average over time: what overlaps by five sixths says little that is new. */
  private steadied(answer: Answer, time_s: number): Answer {
    if (this.steady) {
      const keep = Math.exp(-(time_s - this.steady.time_s) / SMOOTHING_S);
      const before = this.steady.shares;
      answer.probabilities = Object.fromEntries(
        Object.entries(answer.probabilities).map(([label, share]) => [label, keep * before[label]! + (1 - keep) * share]),
      );
    }
    this.steady = { shares: answer.probabilities, time_s };
    const [label, confidence] = Object.entries(answer.probabilities).reduce((best, each) => (each[1] > best[1] ? each : best));
    return { ...answer, label, confidence };
  }
}
