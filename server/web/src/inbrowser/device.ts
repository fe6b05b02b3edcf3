// The device's runtime in the page: a bundle's encoders, each opened when it is first needed, and its fusion.
import { FaceDetector } from "./faceDetector";
import { FaceTrack } from "./faceTrack";
import { BundleFiles, type OnBytes, newestManifest } from "./files";
import { Fusion } from "./fusion";
import { type EncoderEntry, type Manifest, type Modality, SENSES, Unable, parsed } from "./manifest";
import { Network } from "./networks";
import type { Picture } from "./pillow";
import { VOICE_FRAME, isSilent } from "./sound";
import { SpeechEncoder } from "./speech";
import { Scale, type Tokens, joined, spread } from "./tokens";
import { VisionEncoder, isBlank, isCrop, isSquare, visionSettings } from "./vision";
import { WordPiece, isStrange, unreadable } from "./wordPiece";

export const NO_VOICE = "no voice was found in the sound";
const BLANK = "the picture is blank";
const STRANGE = "many words are strange to the encoder; this page cannot tell whether they are of another language";

/** What is known of one sample: any of words, sound of 16 kHz, pictures of one size. */
export interface Sample {
  text?: string;
  sound?: Float32Array;
  pictures?: Picture[];
  pictures_per_s?: number;
}

/** What an encoder made of its sense, or why it could not. */
export interface Taken {
  tokens?: Tokens;
  doubt?: string;
  notes?: string[];
  left_out?: string;
}

/** As a server's `Prediction`, without what only a server knows. */
export interface Answer {
  request_id: string;
  label: string;
  probabilities: Record<string, number>;
  confidence: number;
  /** Confidence below which it is unsure, by the bundle's calibration. */
  threshold: number | null;
  source: "edge";
  modalities: Modality[];
  latency_ms: number;
  model_version: string;
  offload_reason: string;
  notes: string[];
}

interface TextEncoder {
  network: Network;
  pieces: WordPiece;
}

export class Device {
  private readonly opening = new Map<Modality, Promise<TextEncoder | SpeechEncoder | VisionEncoder>>();
  private readonly there = new Set<Modality>();

  private constructor(
    readonly version: string,
    readonly manifest: Manifest,
    private readonly files: BundleFiles,
    private readonly runtime: Promise<void>,
    private readonly fusion: Promise<Fusion>,
  ) {}

  /** The newest bundle of the server; `runtime` is when networks can be opened. */
  static async open(key: string, runtime: Promise<void>, onBytes: OnBytes): Promise<Device> {
    const { version, bytes } = await newestManifest(key);
    const manifest = parsed(bytes);
    const files = new BundleFiles(version, key, onBytes);
    const fusion = Promise.all([files.get(manifest.fusion.network), runtime]).then(
      async ([graph]) => new Fusion(await Network.open(graph), manifest),
    );
    // Whoever waits for it is told; nobody may wait yet.
    fusion.catch(() => {});
    return new Device(version, manifest, files, runtime, fusion);
  }

  get labels(): readonly string[] {
    return this.manifest.label_set.labels;
  }

  has(modality: Modality): boolean {
    return this.manifest.encoders[modality] !== undefined && this.manifest.fusion.widths[modality] !== undefined;
  }

  /** Whether an encoder is open, so that a stream need not wait for it. */
  isOpen(modality: Modality): boolean {
    return this.there.has(modality);
  }

  /** Fetch and open an encoder, once. */
  async text(): Promise<TextEncoder> {
    return (await this.opened("text")) as TextEncoder;
  }
  async audio(): Promise<SpeechEncoder> {
    return (await this.opened("audio")) as SpeechEncoder;
  }
  async video(): Promise<VisionEncoder> {
    return (await this.opened("video")) as VisionEncoder;
  }

  private opened(modality: Modality): Promise<TextEncoder | SpeechEncoder | VisionEncoder> {
    let opening = this.opening.get(modality);
    if (!opening) {
      const entry = this.manifest.encoders[modality];
      opening = entry ? this.open(modality, entry) : Promise.reject(new Unable(`This bundle has no ${modality} encoder.`));
      this.opening.set(modality, opening);
      // What failed is tried anew when it is next needed.
      opening.then(
        () => this.there.add(modality),
        () => this.opening.delete(modality),
      );
    }
    return opening;
  }

  private async open(modality: Modality, entry: EncoderEntry): Promise<TextEncoder | SpeechEncoder | VisionEncoder> {
    const asset = (name: string) => {
      const file = entry.assets[name];
      if (!file) throw new Unable(`The server’s bundle lacks the ${modality} encoder’s ${name}. Its operator must build it again.`);
      return this.files.get(file);
    };
    const network = async (bytes: Promise<Uint8Array<ArrayBuffer>>) => {
      const [graph] = await Promise.all([bytes, this.runtime]);
      return await Network.open(graph);
    };
    if (modality === "video") {
      const settings = visionSettings(entry);
      if (settings.align)
        throw new Unable("The server’s bundle takes aligned faces, which this page does not make. Ask the server instead.");
      const [faces, looks] = await Promise.all([network(this.files.get(entry.network)), network(asset("face"))]);
      return new VisionEncoder(settings, faces, new FaceDetector(looks, settings.face_side, settings.face_threshold));
    }
    if (modality === "audio") {
      const scale = entry.assets["scale"] ? Scale.of(await asset("scale"), entry.width) : undefined;
      const [speech, voice] = await Promise.all([network(this.files.get(entry.network)), network(asset("voice"))]);
      return new SpeechEncoder(entry, speech, voice, scale);
    }
    const [words, tokenizer] = await Promise.all([network(this.files.get(entry.network)), asset("tokenizer")]);
    const file = JSON.parse(new TextDecoder().decode(tokenizer));
    return { network: words, pieces: new WordPiece(file, Number(entry.preprocessing["max_tokens"] ?? 128)) };
  }

  async words(text: string): Promise<Taken> {
    const { network, pieces } = await this.text();
    const { ids, words } = pieces.encode(text.trim());
    const told = await network.run({
      input_ids: { data: BigInt64Array.from(ids, BigInt), dims: [1, ids.length] },
    });
    const { data, dims } = told[network.outputs[0]!]!;
    const notes = ids.length >= pieces.max_tokens ? [`only the first ${pieces.max_tokens} word pieces of the text were read`] : [];
    if (isStrange(words)) notes.push(STRANGE);
    return { tokens: { data: data as Float32Array, count: dims[1]!, width: dims[2]! }, doubt: unreadable(words), notes };
  }

  private async heard(sound: Float32Array): Promise<Taken> {
    const encoder = await this.audio();
    const samples = sound.subarray(0, encoder.settings.max_seconds * 16_000);
    if (isSilent(samples)) return { left_out: "the sound is silent; check the microphone or leave audio out" };
    const whole = new Float32Array(Math.ceil(samples.length / VOICE_FRAME) * VOICE_FRAME);
    whole.set(samples);
    const voiced = await encoder.follow().feed(whole);
    return { tokens: await encoder.encode(samples, voiced), doubt: encoder.isVoiced(voiced) ? "" : NO_VOICE };
  }

  private async seen(pictures: readonly Picture[], rate_hz: number): Promise<Taken> {
    const encoder = await this.video();
    const track = new FaceTrack(encoder.detector);
    const faces = [];
    for (const [place, picture] of pictures.entries())
      faces.push(await track.follow(picture, place / (rate_hz || encoder.settings.frames_per_second)));
    const [first] = pictures as [Picture, ...Picture[]];
    const notes: string[] = [];
    let crops: typeof faces | undefined = faces;
    let quarter: number | undefined;
    if (faces.some((face) => face)) {
      quarter = encoder.wholeAfter(faces, first);
      if (quarter !== undefined) crops = undefined;
    } else if (isCrop(first)) {
      crops = undefined;
    } else if (pictures.length === 1 && isSquare(first.height, first.width)) {
      crops = undefined;
      notes.push("no face was found in the picture; it was taken whole, as if it were one");
    } else {
      return { left_out: "no face was found; turn the camera to the face or come nearer" };
    }
    const kept = spread(pictures.length, encoder.settings.most_frames);
    const cut = encoder.cutOut(pictures, crops, quarter ?? 0);
    const rows = await encoder.encode(kept.map((place) => cut[place]!));
    return { tokens: joined(rows), doubt: pictures.every(isBlank) ? BLANK : "", notes };
  }

  /** One sample answered, as `EdgeRuntime.predict` answers it. */
  async predict(sample: Sample): Promise<Answer> {
    const wanted: Modality[] = [
      ...(sample.text?.trim() ? ["text" as const] : []),
      ...(sample.sound?.length ? ["audio" as const] : []),
      ...(sample.pictures?.length ? ["video" as const] : []),
    ];
    // Fetching the encoders is no part of an answer's time.
    await Promise.all([this.fusion, ...wanted.map((modality) => this.opened(modality))]);
    const began = performance.now();
    const taken: Partial<Record<Modality, Taken>> = {};
    if (sample.text?.trim()) taken.text = await this.words(sample.text);
    if (sample.sound?.length) taken.audio = await this.heard(sample.sound);
    if (sample.pictures?.length) taken.video = await this.seen(sample.pictures, sample.pictures_per_s ?? 0);
    const answer = await this.fused(taken);
    return { ...answer, latency_ms: performance.now() - began };
  }

  /** What the senses together say; what an encoder cannot judge gives way to what one can. */
  async fused(taken: Partial<Record<Modality, Taken>>): Promise<Answer> {
    const began = performance.now();
    const tokens: Partial<Record<Modality, Tokens>> = {};
    const notes: string[] = [];
    const there = SENSES.filter((modality) => taken[modality]);
    const sure = there.some((modality) => taken[modality]?.tokens && !taken[modality].doubt);
    for (const modality of there) {
      const { tokens: made, doubt, notes: said, left_out } = taken[modality]!;
      const why = left_out ?? (doubt && sure ? doubt : "");
      if (why) notes.push(`${modality} left out: ${why}`);
      else if (made) tokens[modality] = made;
      notes.push(...(said ?? []));
      if (doubt && !sure) notes.push(`${doubt}; it was used as it is`);
    }
    const used = SENSES.filter((modality) => tokens[modality]);
    if (used.length === 0) throw new Unable(notes.join(". ") || "There is nothing to go by.");
    const fusion = await this.fusion;
    const shares = await fusion.answer(tokens, !sure);
    return this.named(fusion, shares, used, notes, performance.now() - began);
  }

  /** An answer of its probabilities, in the order of the labels. */
  named(fusion: Fusion, shares: number[], used: Modality[], notes: string[], latency_ms: number): Answer {
    const best = shares.indexOf(Math.max(...shares));
    return {
      request_id: crypto.randomUUID(),
      label: this.labels[best]!,
      probabilities: Object.fromEntries(this.labels.map((label, place) => [label, shares[place]!])),
      confidence: shares[best]!,
      threshold: fusion.threshold(used) ?? null,
      source: "edge",
      modalities: used,
      latency_ms,
      model_version: this.version,
      offload_reason: "",
      notes,
    };
  }
}
