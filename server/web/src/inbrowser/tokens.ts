// Feature vectors as the fusion takes them: one token after the other, all of one width.
export interface Tokens {
  /** Shape (count, width), row by row. */
  data: Float32Array;
  count: number;
  width: number;
}

export function joined(rows: readonly Float32Array[]): Tokens {
  const width = rows[0]?.length ?? 0;
  const data = new Float32Array(rows.length * width);
  rows.forEach((row, place) => data.set(row, place * width));
  return { data, count: rows.length, width };
}

/** Places of at most so many of `count` things, at equal distances. */
export function spread(count: number, most: number | null | undefined): number[] {
  const taken = Math.min(count, most || count);
  return Array.from({ length: taken }, (_, at) => (taken < 2 ? 0 : Math.round(((count - 1) * at) / (taken - 1))));
}

/** Vectors at one rate pooled into tokens at another, by the mean of each stretch or its mean and deviation. */
export function pooled(frames: Tokens, rate_hz: number, token_rate_hz: number, statistics: string): Tokens {
  const ratio = rate_hz / token_rate_hz;
  const count = Math.max(1, Math.floor(frames.count / ratio + 0.5));
  const { width } = frames;
  const rows = Array.from({ length: count }, (_, place) => {
    const start = Math.min(Math.ceil(place * ratio - 0.5), frames.count - 1);
    const stop = Math.max(Math.min(Math.ceil((place + 1) * ratio - 0.5), frames.count), start + 1);
    const row = new Float32Array(statistics === "mean_std" ? 2 * width : width);
    for (let feature = 0; feature < width; feature++) {
      let [sum, squares] = [0, 0];
      for (let frame = start; frame < stop; frame++) sum += frames.data[frame * width + feature]!;
      const mean = sum / (stop - start);
      row[feature] = mean;
      if (statistics !== "mean_std") continue;
      for (let frame = start; frame < stop; frame++) squares += (frames.data[frame * width + feature]! - mean) ** 2;
      row[width + feature] = Math.sqrt(squares / (stop - start));
    }
    return row;
  });
  return joined(rows);
}

/** Mean and deviation of each feature, as a bundle carries them. */
export class Scale {
  constructor(
    private readonly mean: Float32Array,
    private readonly deviation: Float32Array,
  ) {}

  /** From an array of shape (2, W) in NumPy's format. */
  static of(npy: Uint8Array, width: number): Scale {
    const view = new DataView(npy.buffer, npy.byteOffset, npy.byteLength);
    const start = npy[6] === 1 ? 10 + view.getUint16(8, true) : 12 + view.getUint32(8, true);
    const header = new TextDecoder().decode(npy.subarray(0, start));
    if (!header.includes("'<f4'") || npy.length - start !== 8 * width)
      throw new Error("the bundle's scale is not of its encoder's width");
    const values = Float32Array.from({ length: 2 * width }, (_, at) => view.getFloat32(start + 4 * at, true));
    return new Scale(values.subarray(0, width), values.subarray(width));
  }

  scaled(tokens: Tokens): Tokens {
    const data = tokens.data.map(
      (value, at) => Math.fround(value - this.mean[at % tokens.width]!) / this.deviation[at % tokens.width]!,
    );
    return { ...tokens, data };
  }
}
