// Follows a face from picture to picture and looks for it again once a second or when it is lost, as `media/face_track`.
import type { Face, FaceDetector } from "./faceDetector";
import { type Box, type Picture, cut, grey, resized, roundEven } from "./pillow";

const TRUSTED_S = 1;
const RETRY_S = 0.4;
/** Correlation from which what is seen is the same face as before. */
const SAME = 0.7;
const FACE = 24;
const WINDOW = 48;
const PLACES = WINDOW - FACE + 1;

export class FaceTrack {
  private face: Face | undefined;
  private known: Float32Array | undefined;
  private shape = "";
  private looked_s = -Infinity;
  private turned_s = -Infinity;

  constructor(private readonly detector: FaceDetector) {}

  /** The face in the next picture; `time_s` is on any clock that goes forward. */
  async follow(picture: Picture, time_s: number): Promise<Face | undefined> {
    const wait_s = this.face ? TRUSTED_S : RETRY_S;
    const shape = `${picture.width} ${picture.height}`;
    if (shape !== this.shape || time_s - this.looked_s >= wait_s - 5e-4) return await this.look(picture, shape, time_s);
    if (!this.face || !this.known) return undefined;
    const moved = sought(picture, this.face.box, this.known);
    if (!moved) return await this.look(picture, shape, time_s);
    this.face = { ...this.face, box: moved };
    return this.face;
  }

  private async look(picture: Picture, shape: string, time_s: number): Promise<Face | undefined> {
    // Four looks for one, where nobody is there, are for once in a while.
    const turns = time_s - this.turned_s >= TRUSTED_S - 5e-4 || shape !== this.shape;
    if (turns) this.turned_s = time_s;
    this.face = await this.detector.upright(picture, turns);
    this.known = this.face && normal(around(picture, this.face.box, 1, FACE));
    [this.shape, this.looked_s] = [shape, time_s];
    return this.face;
  }
}

/** Where near a box the face is now. */
function sought(picture: Picture, box: Box, face: Float32Array): Box | undefined {
  const window = around(picture, box, WINDOW / FACE, WINDOW);
  let [best, row, column] = [-Infinity, 0, 0];
  for (let y = 0; y < PLACES; y++) {
    for (let x = 0; x < PLACES; x++) {
      let [sum, squares, product] = [0, 0, 0];
      for (let v = 0; v < FACE; v++) {
        const [line, own] = [(y + v) * WINDOW + x, v * FACE];
        for (let u = 0; u < FACE; u++) {
          const value = window[line + u]!;
          sum += value;
          squares += value * value;
          product += value * face[own + u]!;
        }
      }
      // Pearson's correlation with the face, whose mean is 0 and whose norm is 1.
      const alike = product / Math.max(Math.sqrt(Math.max(squares - sum ** 2 / face.length, 0)), 1e-3);
      if (alike > best) [best, row, column] = [alike, y, x];
    }
  }
  if (best < SAME) return undefined;
  const pixel = Math.max(box[2] - box[0], box[3] - box[1]) / FACE;
  const middle = (WINDOW - FACE) / 2;
  const [x, y] = [(column - middle) * pixel, (row - middle) * pixel];
  return [box[0] + x, box[1] + y, box[2] + x, box[3] + y];
}

/** The square around a box, so many times as wide, as grey levels (side, side). */
function around(picture: Picture, box: Box, times: number, side: number): Uint8Array {
  const half = (Math.max(box[2] - box[0], box[3] - box[1]) * times) / 2;
  const [x, y] = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
  const [left, top] = [roundEven(x - half), roundEven(y - half)];
  const square: Box = [left, top, Math.max(left + 1, roundEven(x + half)), Math.max(top + 1, roundEven(y + half))];
  return resized(grey(cut(picture, square)), side, side, "box").data;
}

function normal(face: Uint8Array): Float32Array {
  const mean = face.reduce((sum, value) => sum + value, 0) / face.length;
  const centred = Float32Array.from(face, (value) => value - mean);
  const norm = Math.sqrt(centred.reduce((sum, value) => sum + value * value, 0));
  return centred.map((value) => value / Math.max(norm, 1e-3));
}
