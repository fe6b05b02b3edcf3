// Faces to tokens: which part of a picture is meant, cut out as the device cuts it, one vector a picture.
import type { Face, FaceDetector } from "./faceDetector";
import type { EncoderEntry } from "./manifest";
import type { Network } from "./networks";
import { type Box, type Picture, quarterTurned, roundEven, squared, turned } from "./pillow";

// A picture is a face already where a face fills it, or where it is small and square.
const FILLS = 0.9;
const SQUARE = 1.25;
const SMALL = 128;
/** Levels of a colour that a picture with anything on it spreads over. */
const SPREAD = 3;
const BATCH = 8;

export interface VisionSettings {
  size: number;
  mean: number[];
  std: number[];
  frames_per_second: number;
  max_frames: number;
  face_side: number;
  face_threshold: number;
  face_margin: number;
  align: boolean;
  most_frames: number | null;
}

const DEFAULTS = {
  frames_per_second: 5,
  max_frames: 150,
  face_side: 256,
  face_threshold: 0.5,
  face_margin: 0.2,
  align: false,
  most_frames: null,
};

export function visionSettings(entry: EncoderEntry): VisionSettings {
  return { ...DEFAULTS, ...(entry.preprocessing as unknown as VisionSettings) };
}

export class VisionEncoder {
  constructor(
    readonly settings: VisionSettings,
    private readonly network: Network,
    readonly detector: FaceDetector,
  ) {}

  /** One vector for each square picture of the network's size. */
  async encode(faces: readonly Picture[]): Promise<Float32Array[]> {
    const { size, mean, std } = this.settings;
    const area = size * size;
    const rows: Float32Array[] = [];
    for (let start = 0; start < faces.length; start += BATCH) {
      const batch = faces.slice(start, start + BATCH);
      const pixels = new Float32Array(batch.length * 3 * area); // (B, 3, S, S)
      batch.forEach(({ data }, place) => {
        for (let channel = 0; channel < 3; channel++) {
          const to = (3 * place + channel) * area;
          for (let at = 0; at < area; at++) pixels[to + at] = (data[3 * at + channel]! - mean[channel]!) / std[channel]!;
        }
      });
      const told = await this.network.run({ pixels: { data: pixels, dims: [batch.length, 3, size, size] } });
      const { data, dims } = told[this.network.outputs[0]!]!;
      const width = dims[1]!;
      batch.forEach((_, place) => rows.push((data as Float32Array).slice(place * width, (place + 1) * width)));
    }
    return rows;
  }

  /** The faces of pictures of one size, as the network takes them; of a picture without one, as its neighbour has it. */
  cutOut(pictures: readonly Picture[], faces: readonly (Face | undefined)[] | undefined, quarter = 0): Picture[] {
    const { size } = this.settings;
    if (!faces) return pictures.map((picture) => squared(quarterTurned(picture, quarter), size));
    const seen = [...faces.keys()].filter((place) => faces[place]);
    return pictures.map((picture, place) => {
      const nearest = seen.reduce<number | undefined>(
        (best, each) => (best === undefined || Math.abs(each - place) < Math.abs(best - place) ? each : best),
        undefined,
      );
      const crop = this.cropOf(nearest === undefined ? undefined : faces[nearest], picture);
      const [upright, box] = turned(picture, crop.box, crop.lean);
      return squared(upright, size, box);
    });
  }

  private cropOf(face: Face | undefined, { width, height }: Picture): Face {
    const box: Box = face?.box ?? [0, 0, width, height];
    const side = face
      ? Math.max(box[2] - box[0], box[3] - box[1]) * (1 + this.settings.face_margin)
      : Math.min(width, height);
    const [x, y] = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
    return { box: [x - side / 2, y - side / 2, x + side / 2, y + side / 2], lean: face?.lean ?? 0 };
  }

  /** The quarter turns after which most pictures, filled by a face each, are taken whole; nothing where cut out. */
  wholeAfter(faces: readonly (Face | undefined)[], { width, height }: Picture): number | undefined {
    const seen = faces.filter((face) => face !== undefined);
    const counts = new Map<number, number>();
    for (const { box, lean } of seen) {
      const longer = Math.max(box[2] - box[0], box[3] - box[1]);
      const fills = isSquare(height, width) && longer * (1 + this.settings.face_margin) >= FILLS * Math.min(height, width);
      if (lean % 90 === 0 && fills) counts.set(lean, (counts.get(lean) ?? 0) + 1);
    }
    const [lean, count] = [...counts].reduce((most, each) => (each[1] > most[1] ? each : most), [0, 0]);
    return 2 * count > seen.length ? roundEven(lean / 90) : undefined;
  }
}

/** Whether a picture is small and square, as corpora of faces are. */
export function isCrop({ width, height }: Picture): boolean {
  return isSquare(height, width) && Math.max(height, width) <= SMALL;
}

export function isSquare(height: number, width: number): boolean {
  return Math.max(height, width) <= SQUARE * Math.min(height, width);
}

/** Whether a picture shows nothing: one shade all over. */
export function isBlank({ data }: Picture): boolean {
  const count = data.length / 3;
  for (let channel = 0; channel < 3; channel++) {
    let [sum, squares] = [0, 0];
    for (let at = channel; at < data.length; at += 3) {
      sum += data[at]!;
      squares += data[at]! ** 2;
    }
    if (Math.sqrt(Math.max(0, squares / count - (sum / count) ** 2)) >= SPREAD) return false;
  }
  return true;
}
