// Pictures as Pillow resizes, cuts and turns them, to the last bit: the device's face network sees what Pillow makes.

/** 8-bit pixels row by row, `channels` values each: RGB, or grey. */
export interface Picture {
  data: Uint8Array;
  width: number;
  height: number;
  channels: number;
}

/** Left, top, right, bottom, in pixels. */
export type Box = readonly [number, number, number, number];

type Filter = "bilinear" | "box";

const PRECISION_BITS = 22;
const SUPPORT: Record<Filter, number> = { bilinear: 1, box: 0.5 };

/** As Python rounds: halves to the even neighbour. */
export function roundEven(value: number): number {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

/** Pixels of a canvas without their opacity. */
export function rgbOf(pixels: ImageData): Picture {
  const { width, height, data: source } = pixels;
  const data = new Uint8Array(3 * width * height);
  for (let from = 0, to = 0; to < data.length; from += 4, to += 3) {
    data[to] = source[from]!;
    data[to + 1] = source[from + 1]!;
    data[to + 2] = source[from + 2]!;
  }
  return { data, width, height, channels: 3 };
}

function filtered(filter: Filter, x: number): number {
  if (filter === "bilinear") return Math.abs(x) < 1 ? 1 - Math.abs(x) : 0;
  return x > -0.5 && x <= 0.5 ? 1 : 0;
}

/** For each place of the result: where its pixels begin, and their weights as fixed-point numbers. */
function weights(from: number, to: number, filter: Filter): { first: number; taps: Int32Array }[] {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const support = SUPPORT[filter] * stretch;
  return Array.from({ length: to }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(from, Math.trunc(centre + support + 0.5));
    const shares = Array.from({ length: last - first }, (__, tap) =>
      filtered(filter, (tap + first - centre + 0.5) / stretch),
    );
    const sum = shares.reduce((all, share) => all + share, 0);
    const taps = shares.map((share) => Math.trunc((sum === 0 ? share : share / sum) * 2 ** PRECISION_BITS + 0.5));
    return { first, taps: Int32Array.from(taps) };
  });
}

function clipped(sum: number): number {
  const value = sum >> PRECISION_BITS;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

function horizontally(picture: Picture, width: number, filter: Filter): Picture {
  const { data: source, height, channels, width: wide } = picture;
  const data = new Uint8Array(width * height * channels);
  const kernels = weights(wide, width, filter);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const { first, taps } = kernels[column]!;
      for (let channel = 0; channel < channels; channel++) {
        let sum = 1 << (PRECISION_BITS - 1);
        let at = (row * wide + first) * channels + channel;
        for (let tap = 0; tap < taps.length; tap++, at += channels) sum += source[at]! * taps[tap]!;
        data[(row * width + column) * channels + channel] = clipped(sum);
      }
    }
  }
  return { data, width, height, channels };
}

function vertically(picture: Picture, height: number, filter: Filter): Picture {
  const { data: source, width, channels, height: high } = picture;
  const stride = width * channels;
  const data = new Uint8Array(height * stride);
  const kernels = weights(high, height, filter);
  for (let row = 0; row < height; row++) {
    const { first, taps } = kernels[row]!;
    for (let place = 0; place < stride; place++) {
      let sum = 1 << (PRECISION_BITS - 1);
      let at = first * stride + place;
      for (let tap = 0; tap < taps.length; tap++, at += stride) sum += source[at]! * taps[tap]!;
      data[row * stride + place] = clipped(sum);
    }
  }
  return { data, width, height, channels };
}

/** A whole picture at another size, antialiased. */
export function resized(picture: Picture, width: number, height: number, filter: Filter = "bilinear"): Picture {
  const wide = picture.width === width ? picture : horizontally(picture, width, filter);
  return wide.height === height ? wide : vertically(wide, height, filter);
}

/** A region in whole pixels, black where it reaches beyond. */
export function cut(picture: Picture, [left, top, right, bottom]: Box): Picture {
  const { channels } = picture;
  const [width, height] = [right - left, bottom - top];
  const data = new Uint8Array(width * height * channels);
  const [from, to] = [Math.max(left, 0), Math.min(right, picture.width)];
  for (let row = Math.max(top, 0); from < to && row < Math.min(bottom, picture.height); row++) {
    const start = row * picture.width;
    data.set(
      picture.data.subarray((start + from) * channels, (start + to) * channels),
      ((row - top) * width + from - left) * channels,
    );
  }
  return { data, width, height, channels };
}

/** A square region, or all of it, at `size` by `size`. */
export function squared(picture: Picture, size: number, box?: Box): Picture {
  if (!box) return resized(picture, size, size);
  const [left, top] = [Math.floor(box[0]), Math.floor(box[1])];
  const whole: Box = [left, top, Math.max(left + 1, Math.ceil(box[2])), Math.max(top + 1, Math.ceil(box[3]))];
  return resized(cut(picture, whole), size, size);
}

/** Grey levels, by the weights of ITU-R 601. */
export function grey(picture: Picture): Picture {
  const { width, height, data: source } = picture;
  const data = new Uint8Array(width * height);
  for (let place = 0, at = 0; place < data.length; place++, at += 3)
    data[place] = (source[at]! * 19595 + source[at + 1]! * 38470 + source[at + 2]! * 7471 + 0x8000) >> 16;
  return { data, width, height, channels: 1 };
}

/** Quarter turns counterclockwise. */
export function quarterTurned(picture: Picture, quarters: number): Picture {
  const turns = ((quarters % 4) + 4) % 4;
  if (turns === 0) return picture;
  const { width: wide, height: high, channels } = picture;
  const [width, height] = turns === 2 ? [wide, high] : [high, wide];
  const data = new Uint8Array(picture.data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [column, row] =
        turns === 1 ? [wide - 1 - y, x] : turns === 2 ? [wide - 1 - x, high - 1 - y] : [y, high - 1 - x];
      for (let channel = 0; channel < channels; channel++)
        data[(y * width + x) * channels + channel] = picture.data[(row * wide + column) * channels + channel]!;
    }
  }
  return { data, width, height, channels };
}

function cubic(v1: number, v2: number, v3: number, v4: number, d: number): number {
  return v2 + d * (v3 - v1 + d * (2 * (v1 - v2) + v3 - v4 + d * (v2 - v1 - v3 + v4)));
}

/** Turned about a point by degrees counterclockwise, bicubic; black where nothing was. */
export function rotated(picture: Picture, degrees: number, [x0, y0]: readonly [number, number]): Picture {
  const { width, height, channels, data: source } = picture;
  const angle = (-((((degrees % 360) + 360) % 360) * Math.PI)) / 180;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const [shiftX, shiftY] = [x0 - cos * x0 - sin * y0, y0 + sin * x0 - cos * y0];
  const data = new Uint8Array(source.length);
  const lines = [0, 0, 0, 0];
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const x = cos * (column + 0.5) + sin * (row + 0.5) + shiftX;
      const y = -sin * (column + 0.5) + cos * (row + 0.5) + shiftY;
      if (x < 0 || x >= width || y < 0 || y >= height) continue;
      const [left, top] = [Math.floor(x - 0.5), Math.floor(y - 0.5)];
      const [dx, dy] = [x - 0.5 - left, y - 0.5 - top];
      for (let channel = 0; channel < channels; channel++) {
        for (let line = 0; line < 4; line++) {
          const at = top - 1 + line;
          // Rows beyond the edge repeat the one before; the first is moved inside.
          if (line > 0 && (at < 0 || at >= height)) {
            lines[line] = lines[line - 1]!;
            continue;
          }
          const base = Math.min(Math.max(at, 0), height - 1) * width;
          const pixel = (step: number) =>
            source[(base + Math.min(Math.max(left - 1 + step, 0), width - 1)) * channels + channel]!;
          lines[line] = cubic(pixel(0), pixel(1), pixel(2), pixel(3), dx);
        }
        const value = cubic(lines[0]!, lines[1]!, lines[2]!, lines[3]!, dy);
        data[(row * width + column) * channels + channel] = value <= 0 ? 0 : value >= 255 ? 255 : value;
      }
    }
  }
  return { data, width, height, channels };
}

// A square's diagonal, and a pixel or two for rounding.
const DIAGONAL = 1.42;

/** A picture in which what leans by `lean` degrees clockwise stands upright, and where in it a square region is. */
export function turned(picture: Picture, box: Box, lean: number): [Picture, Box] {
  if (lean % 90 === 0) {
    const quarter = (((roundEven(lean / 90) % 4) + 4) % 4) as 0 | 1 | 2 | 3;
    return [quarterTurned(picture, quarter), quarterBox(box, quarter, picture.height, picture.width)];
  }
  const [x, y] = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
  const reach = Math.ceil(((box[2] - box[0]) * DIAGONAL) / 2) + 2;
  const [left, top] = [roundEven(x) - reach, roundEven(y) - reach];
  const around = cut(picture, [left, top, left + 2 * reach, top + 2 * reach]);
  const upright = rotated(around, lean, [x - left, y - top]);
  return [upright, [box[0] - left, box[1] - top, box[2] - left, box[3] - top]];
}

/** A box found in a picture turned by quarters counterclockwise, upright about its centre in the picture itself. */
export function turnedBack(box: Box, quarter: number, height: number, width: number): Box {
  const [high, wide] = quarter % 2 ? [width, height] : [height, width];
  return quarterBox(box, (4 - quarter) % 4, high, wide);
}

function quarterBox(box: Box, quarter: number, height: number, width: number): Box {
  if (quarter === 0) return box;
  const [x, y] = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
  const [u, v] = quarter === 1 ? [y, width - x] : quarter === 2 ? [width - x, height - y] : [height - y, x];
  const [halfW, halfH] = [(box[2] - box[0]) / 2, (box[3] - box[1]) / 2];
  return [u - halfW, v - halfH, u + halfW, v + halfH];
}
