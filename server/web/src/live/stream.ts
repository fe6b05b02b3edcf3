// `WS /v1/stream`: sound, pictures and words out; answers in; comes back by itself when the server was away.
import type { Prediction } from "../api/client";

export interface Answer extends Prediction {
  window_start_s: number;
  window_end_s: number;
  /** From when the last thing of the window was caught to when its answer came; milliseconds. */
  lag_ms: number;
}

export type StreamState =
  | { kind: "connecting" }
  | { kind: "open" }
  | { kind: "away"; retry_s: number; why: string }
  | { kind: "refused"; type: string; why: string };

interface Options {
  key: string;
  rate_hz: number;
  onAnswer: (answer: Answer) => void;
  onState: (state: StreamState) => void;
}

const PCM = 0;
const PICTURE = 1;
const WINDOW_S = 3;
const HOP_S = 0.5;
const LONGEST_RETRY_S = 8;
/** What waits in the browser beyond this would be old when it arrived. */
const WAITING_BYTES = 256 * 1024;
/** Asking again does not help against these. */
const FINAL = new Set(["Unauthenticated", "Forbidden", "InvalidRequest", "UnsupportedMedia"]);

export class LiveStream {
  private socket: WebSocket | undefined;
  private timer = 0;
  private attempts = 0;
  private stopped = false;
  private began = 0;
  private heard_s = 0;
  /** When sound up to a time of the stream was caught: [stream's seconds, clock's milliseconds]. */
  private marks: [number, number][] = [];
  private hop_s = HOP_S;
  private late = 0;

  constructor(private readonly options: Options) {
    this.connect();
  }

  /** Mono 16-bit sound that follows what came before. */
  sendSound(pcm: Int16Array<ArrayBuffer>): void {
    if (!this.ready()) return;
    const now = performance.now();
    // The first sound sets the stream's clock: it counts from here.
    if (this.marks.length === 0) this.marks.push([0, now - (1000 * pcm.length) / this.options.rate_hz]);
    this.heard_s += pcm.length / this.options.rate_hz;
    this.marks.push([this.heard_s, now]);
    if (this.marks.length > 400) this.marks.splice(1, 100);
    this.send(PCM, new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength));
  }

  /** A JPEG; left out where the network does not keep up. */
  sendPicture(jpeg: Uint8Array): void {
    if (this.ready() && (this.socket?.bufferedAmount ?? 0) < WAITING_BYTES) this.send(PICTURE, jpeg);
  }

  /** Words; false where there is no connection to send them over. */
  sendWords(text: string): boolean {
    if (!this.ready()) return false;
    this.socket?.send(JSON.stringify({ text }));
    return true;
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    this.socket?.close(1000);
  }

  private ready(): boolean {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  private send(kind: number, payload: Uint8Array): void {
    const message = new Uint8Array(payload.length + 1);
    message[0] = kind;
    message.set(payload, 1);
    this.socket?.send(message);
  }

  private connect(): void {
    this.options.onState({ kind: "connecting" });
    const address = `${location.origin.replace(/^http/, "ws")}/v1/stream`;
    const protocols = ["fedaffect.v1", ...(this.options.key ? [`fedaffect.key.${this.options.key}`] : [])];
    let socket: WebSocket;
    try {
      socket = new WebSocket(address, protocols);
    } catch {
      // A subprotocol holds no blanks or quotes.
      this.options.onState({ kind: "refused", type: "Unauthenticated", why: "this is no API key" });
      return;
    }
    this.socket = socket;
    let refused: { type: string; message: string } | undefined;
    socket.onopen = () => {
      this.began = performance.now();
      this.heard_s = 0;
      this.marks = [];
      socket.send(
        JSON.stringify({ sample_rate_hz: this.options.rate_hz, window_s: WINDOW_S, hop_s: this.hop_s, adapt: "en" }),
      );
      this.options.onState({ kind: "open" });
    };
    socket.onmessage = (event: MessageEvent<string>) => {
      const said = JSON.parse(event.data) as Answer | { error: { type: string; message: string } };
      if ("error" in said) {
        refused = said.error;
        return;
      }
      this.attempts = 0;
      const lag_ms = performance.now() - this.caughtAt(said.window_end_s);
      this.options.onAnswer({ ...said, lag_ms });
      this.keepUp(lag_ms, said.latency_ms);
    };
    socket.onclose = () => {
      if (this.stopped || this.socket !== socket) return;
      if (refused && FINAL.has(refused.type)) {
        this.options.onState({ kind: "refused", type: refused.type, why: refused.message });
        return;
      }
      const retry_s = Math.min(0.5 * 2 ** this.attempts++, LONGEST_RETRY_S);
      this.options.onState({ kind: "away", retry_s, why: refused?.message ?? "the server cannot be reached" });
      this.timer = window.setTimeout(() => this.connect(), 1000 * retry_s);
    };
  }

  /** The clock's time at which what lies at a time of the stream was caught. */
  private caughtAt(at_s: number): number {
    const mark = this.marks.find(([until_s]) => until_s >= at_s - 1e-6);
    // Without sound the server's clock runs from the stream's beginning.
    return mark ? mark[1] - 1000 * (mark[0] - at_s) : this.began + 1000 * at_s;
  }

  /** A server slower than the picture falls behind for good: begin anew, and ask no oftener than it answers. */
  private keepUp(lag_ms: number, latency_ms: number): void {
    this.late = lag_ms - latency_ms > 1000 * WINDOW_S ? this.late + 1 : 0;
    if (this.late < 2) return;
    this.late = 0;
    this.hop_s = Math.min(Math.max(2 * this.hop_s, latency_ms / 1000), WINDOW_S);
    const behind = this.socket;
    this.socket = undefined;
    behind?.close(1000);
    this.connect();
  }
}
