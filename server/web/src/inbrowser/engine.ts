// The worker that holds the bundle: one for the page, opened when it is first wanted, and what is known of it.
import { abilities } from "./abilities";
import type { Answer } from "./device";
import type { Modality } from "./manifest";
import type { FromWorker, RawPictures, ToWorker } from "./messages";

export type EngineState =
  | { kind: "off" }
  | { kind: "loading"; loaded: number; total: number }
  | { kind: "ready"; version: string; how: string; senses: Modality[] }
  | { kind: "unable"; why: string };

type Heard = Exclude<FromWorker, { kind: "loading" | "opened" | "ready" | "answer" }>;

const OFF: EngineState = { kind: "off" };

class Engine {
  state: EngineState = OFF;
  /** Told what concerns the stream under way. */
  onStream: ((message: Heard) => void) | undefined;
  private worker: Worker | undefined;
  private key = "";
  private how = "";
  private version = "";
  private readonly listeners = new Set<() => void>();
  private readonly files = new Map<string, [number, number]>();
  private readonly asked = new Map<number, { resolve: (answer: Answer) => void; reject: (why: Error) => void }>();
  private wanted = new Set<Modality>();
  private ready: Modality[] = [];
  private next = 0;

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Fetch and open what these senses need; what is open already stays. */
  open(key: string, senses: readonly Modality[]): void {
    if (this.state.kind === "unable" || key !== this.key) this.close();
    if (!this.worker) {
      const { unable, threads, how } = abilities();
      if (unable) return this.become({ kind: "unable", why: unable });
      [this.key, this.how] = [key, how];
      this.worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
      this.worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.heard(data);
      this.worker.onerror = () =>
        this.become({ kind: "unable", why: "The browser stopped the bundle’s worker. Load the page again, or choose “the server”." });
      this.become({ kind: "loading", loaded: 0, total: 0 });
      this.send({ kind: "open", key, threads });
    }
    const fresh = senses.filter((sense) => !this.wanted.has(sense));
    for (const sense of fresh) this.wanted.add(sense);
    if (fresh.length) this.send({ kind: "prepare", senses: fresh });
  }

  /** Let go of the bundle; what was fetched stays in the browser's cache. */
  close(): void {
    this.worker?.terminate();
    this.worker = undefined;
    this.wanted = new Set();
    this.ready = [];
    this.files.clear();
    for (const { reject } of this.asked.values()) reject(new Error("the bundle was closed"));
    this.asked.clear();
    this.become(OFF);
  }

  send(message: ToWorker, transfer: Transferable[] = []): void {
    this.worker?.postMessage(message, transfer);
  }

  async predict(sample: { text?: string; sound?: Float32Array; pictures?: RawPictures }): Promise<Answer> {
    if (!this.worker) throw new Error(this.state.kind === "unable" ? this.state.why : "the bundle is not open");
    const id = this.next++;
    return await new Promise((resolve, reject) => {
      this.asked.set(id, { resolve, reject });
      this.send({ kind: "predict", id, ...sample });
    });
  }

  private heard(message: FromWorker): void {
    switch (message.kind) {
      case "loading": {
        this.files.set(message.what, [message.loaded, message.total]);
        if (this.state.kind !== "loading") return;
        const [loaded, total] = [...this.files.values()].reduce(([a, b], [c, d]) => [a + c, b + d], [0, 0]);
        return this.become({ kind: "loading", loaded, total });
      }
      case "opened":
        this.version = message.version;
        return;
      case "ready":
        this.ready = [...this.ready, message.sense];
        return this.become({ kind: "ready", version: this.version, how: this.how, senses: this.ready });
      case "answer":
        this.asked.get(message.id)?.resolve(message.answer);
        this.asked.delete(message.id);
        return;
      case "unable":
        if (message.id !== undefined) {
          this.asked.get(message.id)?.reject(new Error(message.why));
          this.asked.delete(message.id);
          return;
        }
        this.become({ kind: "unable", why: message.why });
    }
    if (message.kind !== "unable" || message.id === undefined) this.onStream?.(message);
  }

  private become(state: EngineState): void {
    this.state = state;
    for (const listener of this.listeners) listener();
  }
}

export const engine = new Engine();
