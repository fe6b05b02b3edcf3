// Where the face is: CenterFace, and the looks that it takes to find faces that lie or lean. As the device's `media/face`.
import { type Box, type Picture, quarterTurned, resized, roundEven, turned, turnedBack } from "./pillow";
import type { Network } from "./networks";

const STRIDE = 4;
const MULTIPLE = 32;
// When a face surely stands upright; otherwise other turns of the picture are tried.
const SURE_HEAT = 0.7;
const SURE_LEAN = 35;
const SURE_MISFIT = 0.45;
const SURER = 0.1;
const TURNED_HEAT = 0.6;
/** Degrees from which a face is turned upright before it is cut out. */
const LEANS = 20;
const AROUND = 2;
const SAME_PLACE = 0.5;

type Complex = readonly [number, number];
// Eyes, nose and corners of the mouth of an upright face; their mean is 0.
const UPRIGHT: readonly Complex[] = [
  [-0.5, -0.58],
  [0.5, -0.58],
  [0, 0.02],
  [-0.4, 0.57],
  [0.4, 0.57],
];

/** A face; of one that leans, the box that it has when it stands upright on its centre. */
export interface Face {
  box: Box;
  /** Degrees, clockwise, by which it is turned. */
  lean: number;
}

interface Seen {
  box: Box;
  heat: number;
  lean: number;
  misfit: number;
}

export class FaceDetector {
  constructor(
    private readonly network: Network,
    private readonly side: number,
    private readonly threshold: number,
  ) {}

  /** The largest face of a picture, with how it must be turned to stand upright. */
  async upright(picture: Picture, turns = true): Promise<Face | undefined> {
    const first = await this.look(picture);
    let [seen, quarter] = [first, 0];
    if (turns && !(first && isSure(first))) [seen, quarter] = await this.inQuarterTurns(picture, first);
    if (!seen) return undefined;
    const stood: Face = { box: turnedBack(seen.box, quarter, picture.height, picture.width), lean: 90 * quarter };
    if (Math.abs(seen.lean) < LEANS) return stood;
    const upright = await this.confirmed(picture, { ...stood, lean: stood.lean + seen.lean });
    return upright ?? (first ? { box: first.box, lean: 0 } : stood);
  }

  private async inQuarterTurns(picture: Picture, seen: Seen | undefined): Promise<[Seen | undefined, number]> {
    let [best, quarter] = [seen, 0];
    let least = SURER + (seen ? surety(seen) : 0);
    for (const turns of [1, 2, 3]) {
      const other = await this.look(quarterTurned(picture, turns));
      if (other && other.heat >= TURNED_HEAT && surety(other) >= least)
        [best, quarter, least] = [other, turns, surety(other)];
    }
    return [best, quarter];
  }

  /** A leaning face as a look at it turned upright gives it. */
  private async confirmed(picture: Picture, face: Face): Promise<Face | undefined> {
    const [left, top, right, bottom] = face.box;
    const longer = Math.max(right - left, bottom - top);
    const side = AROUND * longer;
    const [x, y] = [(left + right) / 2, (top + bottom) / 2];
    const [around, place] = turned(picture, [x - side / 2, y - side / 2, x + side / 2, y + side / 2], face.lean);
    const again = await this.look(around);
    if (!again || Math.abs(again.lean) > LEANS) return undefined;
    const angle = (face.lean * Math.PI) / 180;
    const [stepX, stepY] = minus(middle(again.box), middle(place));
    const moved: Complex = [
      stepX * Math.cos(angle) - stepY * Math.sin(angle),
      stepX * Math.sin(angle) + stepY * Math.cos(angle),
    ];
    if (Math.hypot(...moved) > SAME_PLACE * longer) return undefined;
    const [halfW, halfH] = [(again.box[2] - again.box[0]) / 2, (again.box[3] - again.box[1]) / 2];
    const [u, v] = [x + moved[0], y + moved[1]];
    return { box: [u - halfW, v - halfH, u + halfW, v + halfH], lean: face.lean + again.lean };
  }

  private async look(picture: Picture): Promise<Seen | undefined> {
    const { width, height } = picture;
    const scale = this.side / Math.max(width, height);
    const fitted = (side: number) => Math.max(1, Math.ceil(roundEven(side * scale) / MULTIPLE)) * MULTIPLE;
    const [wide, high] = [fitted(width), fitted(height)];
    const { data } = resized(picture, wide, high);
    const area = wide * high;
    const pixels = new Float32Array(3 * area); // (3, high, wide), RGB 0..255
    for (let place = 0, at = 0; place < area; place++, at += 3) {
      pixels[place] = data[at]!;
      pixels[area + place] = data[at + 1]!;
      pixels[2 * area + place] = data[at + 2]!;
    }
    const found = await this.network.run({ [this.network.inputs[0]!]: { data: pixels, dims: [1, 3, high, wide] } });
    const [heat, sizes, offsets, marks] = this.network.outputs.map((name) => found[name]!.data) as Float32Array[];
    return largest(heat!, sizes!, offsets!, marks!, wide / STRIDE, this.threshold, width / wide, height / high);
  }
}

function largest(
  heat: Float32Array,
  sizes: Float32Array,
  offsets: Float32Array,
  marks: Float32Array,
  columns: number,
  threshold: number,
  scaleX: number,
  scaleY: number,
): Seen | undefined {
  const area = heat.length;
  const found: { at: number; x: number; y: number; width: number; height: number }[] = [];
  for (let at = 0; at < area; at++) {
    if (heat[at]! < threshold) continue;
    found.push({
      at,
      height: Math.fround(Math.exp(sizes[at]!)) * STRIDE,
      width: Math.fround(Math.exp(sizes[area + at]!)) * STRIDE,
      y: (Math.floor(at / columns) + offsets[at]! + 0.5) * STRIDE,
      x: ((at % columns) + offsets[area + at]! + 0.5) * STRIDE,
    });
  }
  const [first] = found;
  if (!first) return undefined;
  // Neighbouring places of one face give nearly equal boxes; of the largest face's own, the hottest is the surest.
  const size = (each: typeof first) => each.width * each.height;
  const widest = found.reduce((best, each) => (size(each) > size(best) ? each : best), first);
  const best = found
    .filter(
      (each) =>
        size(each) >= 0.5 * size(widest) &&
        Math.abs(each.y - widest.y) <= widest.height / 2 &&
        Math.abs(each.x - widest.x) <= widest.width / 2,
    )
    .reduce((hottest, each) => (heat[each.at]! > heat[hottest.at]! ? each : hottest), widest);
  const [halfW, halfH] = [best.width / 2, best.height / 2];
  const box: Box = [
    (best.x - halfW) * scaleX,
    (best.y - halfH) * scaleY,
    (best.x + halfW) * scaleX,
    (best.y + halfH) * scaleY,
  ];
  // In shares of the box, y before x.
  const points = UPRIGHT.map((_, mark): Complex => {
    const [y, x] = [marks[2 * mark * area + best.at]!, marks[(2 * mark + 1) * area + best.at]!];
    return [x * (box[2] - box[0]), y * (box[3] - box[1])];
  });
  return { box, heat: heat[best.at]!, ...leaning(points) };
}

/** By how much an upright face must be turned to lie like these landmarks, and what share that leaves unexplained. */
function leaning(points: Complex[]): { lean: number; misfit: number } {
  const mean: Complex = [average(points.map(([x]) => x)), average(points.map(([, y]) => y))];
  let [along, across, own, spread] = [0, 0, 0, 0];
  points.forEach((point, place) => {
    const [x, y] = minus(point, mean);
    const [u, v] = UPRIGHT[place]!;
    along += u * x + v * y;
    across += u * y - v * x;
    own += u * u + v * v;
    spread += x * x + y * y;
  });
  const [re, im] = [along / own, across / own];
  let rest = 0;
  points.forEach((point, place) => {
    const [x, y] = minus(point, mean);
    const [u, v] = UPRIGHT[place]!;
    rest += (x - re * u + im * v) ** 2 + (y - re * v - im * u) ** 2;
  });
  return {
    lean: (Math.atan2(im, re) * 180) / Math.PI,
    misfit: Math.sqrt(rest) / Math.max(Math.sqrt(spread), 1e-9),
  };
}

function isSure(seen: Seen): boolean {
  return seen.heat >= SURE_HEAT && Math.abs(seen.lean) <= SURE_LEAN && seen.misfit <= SURE_MISFIT;
}

/** Heat, less where the landmarks are not those of an upright face. */
function surety(seen: Seen): number {
  return seen.heat - 0.3 * Math.max(0, seen.misfit - 0.2) - 0.003 * Math.max(0, Math.abs(seen.lean) - 30);
}

function middle(box: Box): Complex {
  return [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
}

function minus(a: Complex, b: Complex): Complex {
  return [a[0] - b[0], a[1] - b[1]];
}

function average(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
