// What page and worker say to each other. No message goes anywhere else.
import type { Answer } from "./device";
import type { WindowAnswer } from "./liveWindows";
import type { Modality } from "./manifest";
import type { Box } from "./pillow";

export type ToWorker =
  /** Fetch and open the bundle. */
  | { kind: "open"; key: string; threads: number }
  /** Fetch and open these encoders now, in this order. */
  | { kind: "prepare"; senses: Modality[] }
  /** One sample: words, sound of 16 kHz, RGB pictures of one size. */
  | { kind: "predict"; id: number; text?: string; sound?: Float32Array; pictures?: RawPictures }
  /** A stream begins; windows of the one before are forgotten. */
  | { kind: "begin"; rate_hz: number }
  | { kind: "sound"; pcm: Int16Array; begins_s: number }
  | { kind: "picture"; picture: ImageBitmap; time_s: number }
  | { kind: "words"; text: string; time_s: number }
  | { kind: "end" };

export interface RawPictures {
  data: Uint8Array;
  count: number;
  width: number;
  height: number;
  per_s: number;
}

export type FromWorker =
  | { kind: "loading"; what: string; loaded: number; total: number }
  | { kind: "opened"; version: string; labels: string[]; senses: Modality[]; threads: number }
  | { kind: "ready"; sense: Modality; after_ms: number }
  | { kind: "answer"; id: number; answer: Answer }
  | { kind: "window"; answer: WindowAnswer }
  /** A picture was seen: the next may come. */
  | { kind: "seen"; time_s: number; box: Box | null; width: number; height: number }
  /** What does not work and what to do; of one sample where there is an id. */
  | { kind: "unable"; why: string; id?: number };
