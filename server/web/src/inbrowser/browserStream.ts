// A stream that is answered in this browser: what `LiveStream` is for the server, with the same messages to the page.
import type { Answer, StreamState } from "../live/stream";
import { engine } from "./engine";
import type { Modality } from "./manifest";
import type { Box } from "./pillow";

export interface FaceBox {
  box: Box;
  /** Of the picture that the box is in. */
  width: number;
  height: number;
}

interface Options {
  key: string;
  rate_hz: number;
  camera: boolean;
  microphone: boolean;
  onAnswer: (answer: Answer) => void;
  onState: (state: StreamState) => void;
  onFace?: (face: FaceBox | undefined) => void;
}

/** No wider than the encoders need, as the pictures for a server. */
const WIDTH = 480;

export class BrowserStream {
  private readonly began = performance.now();
  private readonly unsubscribe: () => void;
  private stopped = false;
  private waiting = false;
  private unwatch = () => {};

  constructor(private readonly options: Options) {
    const senses: Modality[] = [...(options.camera ? ["video" as const] : []), ...(options.microphone ? ["audio" as const] : [])];
    options.onState({ kind: "connecting" });
    this.unsubscribe = engine.subscribe(() => this.tell());
    engine.onStream = (message) => {
      if (this.stopped) return;
      if (message.kind === "window") {
        options.onAnswer({ ...message.answer, lag_ms: this.now_ms() - 1000 * message.answer.window_end_s });
      } else if (message.kind === "seen") {
        this.waiting = false;
        const { box, width, height } = message;
        options.onFace?.(box ? { box, width, height } : undefined);
      }
    };
    engine.open(options.key, senses);
    engine.send({ kind: "begin", rate_hz: options.rate_hz });
    this.tell();
  }

  sendSound(pcm: Int16Array<ArrayBuffer>): void {
    if (this.stopped) return;
    engine.send({ kind: "sound", pcm: pcm.slice(), begins_s: this.now_ms() / 1000 - pcm.length / this.options.rate_hz });
  }

  /** Words said now; their encoder is fetched with the first. */
  sendWords(text: string): boolean {
    if (this.stopped || engine.state.kind === "unable") return false;
    engine.open(this.options.key, ["text"]);
    engine.send({ kind: "words", text, time_s: this.now_ms() / 1000 });
    return true;
  }

  /** The camera's pictures from now on, each when the one before was seen. */
  watch(video: HTMLVideoElement): void {
    const show = () => {
      if (this.stopped) return;
      video.requestVideoFrameCallback(show);
      if (this.waiting || video.videoWidth === 0) return;
      this.waiting = true;
      const time_s = this.now_ms() / 1000;
      const resizeWidth = Math.min(WIDTH, video.videoWidth);
      createImageBitmap(video, { resizeWidth, resizeQuality: "medium" }).then(
        (picture) => engine.send({ kind: "picture", picture, time_s }, [picture]),
        () => {
          this.waiting = false;
        },
      );
    };
    const handle = video.requestVideoFrameCallback(show);
    this.unwatch = () => video.cancelVideoFrameCallback(handle);
  }

  stop(): void {
    this.stopped = true;
    this.unwatch();
    this.unsubscribe();
    engine.onStream = undefined;
    engine.send({ kind: "end" });
  }

  private now_ms(): number {
    return performance.now() - this.began;
  }

  private tell(): void {
    if (this.stopped) return;
    if (engine.state.kind === "unable") this.options.onState({ kind: "refused", type: "Unable", why: engine.state.why });
    else if (engine.state.kind === "ready") this.options.onState({ kind: "open" });
  }
}
