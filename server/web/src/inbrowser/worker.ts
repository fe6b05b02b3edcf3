// Runs the bundle beside the page's own thread. It fetches files of the bundle and sends nothing: media end here.
import { Device, type Sample } from "./device";
import { runtimeBytes } from "./files";
import { LiveWindows } from "./liveWindows";
import { Unable } from "./manifest";
import type { FromWorker, RawPictures, ToWorker } from "./messages";
import { start } from "./networks";
import { type Picture, rgbOf } from "./pillow";

const say = (message: FromWorker) => self.postMessage(message);

let device: Promise<Device> | undefined;
let windows: LiveWindows | undefined;
let canvas: OffscreenCanvas | undefined;
let began = 0;
let work: Promise<void> = Promise.resolve();
/** Sound that was not worked on yet: a slow machine takes it in longer pieces, and falls no further behind. */
let unheard: (ToWorker & { kind: "sound" })[] = [];

self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  // Encoders are fetched beside what is under way; all else is done in its order.
  if (data.kind === "open") open(data.key, data.threads);
  else if (data.kind === "prepare") void told(prepare(data.senses));
  else {
    if (data.kind === "sound") unheard.push(data);
    work = work.then(() => told(take(data), data.kind === "predict" ? data.id : undefined));
  }
};

async function told(done: Promise<void>, id?: number): Promise<void> {
  try {
    await done;
  } catch (error) {
    const why = error instanceof Unable ? error.message : `The bundle could not be run: ${String(error)}`;
    say({ kind: "unable", why, ...(id === undefined ? {} : { id }) });
  }
}

function open(key: string, threads: number): void {
  began = performance.now();
  const onBytes = (what: string, loaded: number, total: number) => say({ kind: "loading", what, loaded, total });
  const runtime = runtimeBytes(__ORT_VERSION__, __ORT_SHA256__, onBytes).then((wasm) => start(wasm, threads));
  device = Device.open(key, runtime, onBytes);
  runtime.catch(() => {});
  void told(
    device.then(async ({ version, labels, manifest }) => {
      await runtime;
      const senses = (["text", "audio", "video"] as const).filter((sense) => manifest.encoders[sense]);
      say({ kind: "opened", version, labels: [...labels], senses, threads });
    }),
  );
}

async function opened(): Promise<Device> {
  if (!device) throw new Unable("The bundle is not open.");
  return await device;
}

async function prepare(senses: (ToWorker & { kind: "prepare" })["senses"]): Promise<void> {
  const bundle = await opened();
  for (const sense of senses) {
    if (!bundle.has(sense)) continue;
    await bundle[sense]();
    say({ kind: "ready", sense, after_ms: performance.now() - began });
  }
}

async function take(message: ToWorker): Promise<void> {
  switch (message.kind) {
    case "predict": {
      const sample: Sample = {};
      if (message.text !== undefined) sample.text = message.text;
      if (message.sound) sample.sound = message.sound;
      if (message.pictures) [sample.pictures, sample.pictures_per_s] = [unpacked(message.pictures), message.pictures.per_s];
      return say({ kind: "answer", id: message.id, answer: await (await opened()).predict(sample) });
    }
    case "begin":
      windows = new LiveWindows(await opened(), message.rate_hz);
      return;
    case "end":
      windows = undefined;
      return;
    case "sound": {
      const [first, ...more] = unheard;
      unheard = [];
      if (!first) return;
      await windows?.hear(joined([first, ...more].map(({ pcm }) => pcm)), first.begins_s);
      return await answerDue();
    }
    case "picture": {
      const { width, height } = message.picture;
      const face = await windows?.see(pixelsOf(message.picture), message.time_s);
      say({ kind: "seen", time_s: message.time_s, box: face?.box ?? null, width, height });
      return await answerDue();
    }
    case "words":
      windows?.say(message.text, message.time_s);
  }
}

function joined(pieces: Int16Array[]): Int16Array {
  const whole = new Int16Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

async function answerDue(): Promise<void> {
  const answer = await windows?.due();
  if (answer) say({ kind: "window", answer });
}

function pixelsOf(bitmap: ImageBitmap): Picture {
  const { width, height } = bitmap;
  if (canvas?.width !== width || canvas.height !== height) canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Unable("This browser gives no pixels of pictures. Ask the server instead.");
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return rgbOf(context.getImageData(0, 0, width, height));
}

function unpacked({ data, count, width, height }: RawPictures): Picture[] {
  const size = 3 * width * height;
  return Array.from({ length: count }, (_, place) => ({
    data: data.subarray(place * size, (place + 1) * size),
    width,
    height,
    channels: 3,
  }));
}
