// `WS /v1/stream`, live: sound, pictures and words out; answers in; comes back by itself when the server was away.
import type { components } from "../api/schema.js";

type Prediction = Omit<components["schemas"]["PredictionReply"], "source"> & { source: "edge" | "cloud" };

export interface Face {
  id: number;
  /** Left, top, right, bottom as shares of the picture. */
  box: [number, number, number, number];
  /** Whether the answer rests on it. */
  fused: boolean;
  /** What this face says alone. */
  probabilities?: Record<string, number>;
}

export interface Answer extends Prediction {
  window_start_s: number;
  window_end_s: number;
  /** From when the newest thing in the window was caught to when its answer came; milliseconds. */
  lag_ms: number;
  faces?: Face[];
  /** What the model says of each modality alone. */
  by_modality?: Record<string, Record<string, number>>;
  /** By how much the answer changes without each, as shares. */
  weights?: Record<string, number>;
  affect?: { valence: number; arousal: number; derived: boolean };
  windows?: Record<string, [number, number]>;
  /** For how long the stream waited until the server had time for it. */
  waited_s?: number;
}

/** Nothing in the window can be judged. */
export interface Nothing {
  nothing: string;
  faces: Face[];
}

export interface Feedback {
  idempotency_key: string;
  request_id: string;
  model_version: string;
  label: string;
  consent: boolean;
}

/** What became of feedback; `features` are the modalities whose features were kept with it. */
export interface Taken {
  accepted: boolean;
  features?: string[];
  error?: { type: string; message: string };
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
  onNothing?: (nothing: Nothing) => void;
  /** Of the server; the page's own where left out. */
  origin?: string;
  /** Language of what an app should say; empty for none. */
  adapt?: string;
}

interface Told {
  picture_time_s?: number;
  window_end_s: number;
}

type Message =
  | { error: { type: string; message: string } }
  | { feedback: Taken & { request_id: string } }
  | (Nothing & Told)
  | (Answer & Told);

const PCM = 0;
const TIMED_PICTURE = 2;
const WINDOW_S = 3;
/** Between two answers at least; a server that is slower answers the newest picture when it can. */
const HOP_S = 0.12;
const LONGEST_RETRY_S = 8;
/** A picture whose answer does not come is not waited for any longer. */
const PATIENCE_MS = 1500;
/** Asking again does not help against these. */
const FINAL = new Set(["Unauthenticated", "Forbidden", "InvalidRequest", "UnsupportedMedia"]);

export class LiveStream {
  private socket: WebSocket | undefined;
  private timer = 0;
  private attempts = 0;
  private stopped = false;
  private began = 0;
  /** When the picture was sent whose answer is still out. */
  private asked = Number.NEGATIVE_INFINITY;
  private readonly waiting = new Map<string, (taken: Taken) => void>();

  constructor(private readonly options: Options) {
    this.connect();
  }

  /** Mono 16-bit sound that follows what came before. */
  sendSound(pcm: Int16Array<ArrayBuffer>): void {
    if (!this.ready()) return;
    const message = new Uint8Array(pcm.byteLength + 1);
    message[0] = PCM;
    message.set(new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength), 1);
    this.socket?.send(message);
  }

  /** Whether a picture would be answered now: the one before was, or is given up. */
  wantsPicture(): boolean {
    return this.ready() && performance.now() - this.asked > PATIENCE_MS;
  }

  /** A JPEG, and when it was taken, by `performance.now()`. */
  sendPicture(jpeg: Uint8Array, taken_ms: number): void {
    if (!this.ready()) return;
    this.asked = performance.now();
    const message = new Uint8Array(jpeg.length + 9);
    message[0] = TIMED_PICTURE;
    new DataView(message.buffer).setFloat64(1, (taken_ms - this.began) / 1000, true);
    message.set(jpeg, 9);
    this.socket?.send(message);
  }

  /** Words; false where there is no connection to send them over. */
  sendWords(text: string): boolean {
    if (!this.ready()) return false;
    this.socket?.send(JSON.stringify({ text }));
    return true;
  }

  /** Keep the features of an answer at hand while somebody thinks about it. */
  hold(request_id: string): void {
    if (this.ready()) this.socket?.send(JSON.stringify({ hold: request_id }));
  }

  /** Say what an answer should have been; undefined where there is no connection to say it over. */
  tell(feedback: Feedback): Promise<Taken> | undefined {
    if (!this.ready()) return undefined;
    this.socket?.send(JSON.stringify({ feedback }));
    return new Promise((resolve) => this.waiting.set(feedback.request_id, resolve));
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    this.lose();
    this.socket?.close(1000);
  }

  private ready(): boolean {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  /** What was told and not confirmed is told again by whoever waits, under the same key. */
  private lose(): void {
    for (const resolve of this.waiting.values())
      resolve({ accepted: false, error: { type: "Lost", message: "the connection was lost" } });
    this.waiting.clear();
  }

  private connect(): void {
    this.options.onState({ kind: "connecting" });
    const address = `${(this.options.origin ?? location.origin).replace(/^http/, "ws")}/v1/stream`;
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
      this.asked = Number.NEGATIVE_INFINITY;
      const { rate_hz, adapt = "en" } = this.options;
      socket.send(JSON.stringify({ live: true, sample_rate_hz: rate_hz, window_s: WINDOW_S, hop_s: HOP_S, adapt }));
      this.options.onState({ kind: "open" });
    };
    socket.onmessage = (event: MessageEvent<string>) => {
      const said = JSON.parse(event.data) as Message;
      if ("error" in said) {
        refused = said.error;
        return;
      }
      if ("feedback" in said) {
        this.waiting.get(said.feedback.request_id)?.(said.feedback);
        this.waiting.delete(said.feedback.request_id);
        return;
      }
      this.attempts = 0;
      if (said.picture_time_s !== undefined) this.asked = Number.NEGATIVE_INFINITY;
      if ("nothing" in said) {
        this.options.onNothing?.(said);
        return;
      }
      // Without a picture the server's clock, which began with the stream, says when.
      const caught_ms = this.began + 1000 * (said.picture_time_s ?? said.window_end_s);
      this.options.onAnswer({ ...said, lag_ms: performance.now() - caught_ms });
    };
    socket.onclose = () => {
      this.lose();
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
}
