// <fedaffect-live server="https://…" key="…">: the live view for other pages; no framework, nothing of the page around it.
import { watch } from "../live/camera";
import { SENSES, SURE, colourOf, ranked } from "../live/emotions";
import { type Microphone, listen } from "../live/microphone";
import { type Answer, LiveStream, type StreamState } from "../live/stream";

const STYLE = `
:host { display: block; max-width: 24rem; font: 1rem/1.4 system-ui, sans-serif; color: CanvasText; background: Canvas; border: 1px solid GrayText; border-radius: 0.5rem; padding: 0.75rem; color-scheme: light dark; }
video { width: 100%; aspect-ratio: 4 / 3; object-fit: cover; background: #101216; border-radius: 0.375rem; transform: scaleX(-1); }
p { margin: 0.5rem 0; font-size: 0.875rem; }
strong { font-size: 1.25rem; text-transform: capitalize; }
button { font: inherit; min-height: 2.5rem; padding: 0.25rem 1rem; }
ul { list-style: none; margin: 0.5rem 0; padding: 0; min-height: 5.5rem; }
li { display: grid; grid-template-columns: 6rem 1fr 3rem; gap: 0.5rem; align-items: center; }
li span:last-child { text-align: right; }
i { display: block; height: 0.875rem; border-radius: 0.25rem; transform-origin: left; transition: transform 0.25s; }
@media (prefers-reduced-motion: reduce) { i { transition: none; } }
`;

/** Dispatched with each answer as its `detail`. */
export const ANSWER = "fedaffect-answer";

export class FedaffectLive extends HTMLElement {
  private stop: (() => void) | undefined;
  private readonly video = document.createElement("video");
  private readonly button = document.createElement("button");
  private readonly label = document.createElement("strong");
  private readonly state = document.createElement("p");
  private readonly bars = document.createElement("ul");

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    const style = new CSSStyleSheet();
    style.replaceSync(STYLE);
    root.adoptedStyleSheets = [style];
    const said = document.createElement("p");
    said.textContent = `While it is on, pictures and sound go to ${this.origin()} to be answered, and are not kept. An expression is no proof of a feeling.`;
    this.video.muted = true;
    this.video.playsInline = true;
    this.video.setAttribute("aria-label", "Your camera");
    this.button.type = "button";
    this.button.textContent = "Start";
    this.button.onclick = () => (this.stop ? this.end("Stopped") : void this.begin());
    this.state.setAttribute("role", "status");
    this.state.textContent = "Camera and microphone are off";
    this.bars.setAttribute("aria-label", "Most likely emotions");
    root.append(this.video, this.label, this.bars, this.button, this.state, said);
  }

  disconnectedCallback(): void {
    this.end("Stopped");
  }

  /** Of the server; where this file came from if the element does not say. */
  private origin(): string {
    return new URL(this.getAttribute("server") ?? import.meta.url, location.href).origin;
  }

  private async begin(): Promise<void> {
    let media: MediaStream;
    try {
      const audio = this.hasAttribute("no-microphone") ? false : { channelCount: 1 };
      media = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 }, audio });
    } catch (error) {
      this.state.textContent = `Camera or microphone could not be opened (${error instanceof DOMException ? error.name : String(error)}). Allow them beside the address, then start again.`;
      return;
    }
    let stream: LiveStream | undefined;
    let microphone: Microphone | undefined;
    if (media.getAudioTracks().length) {
      microphone = await listen(media, (pcm) => {
        if (!document.hidden) stream?.sendSound(pcm);
      }).catch(() => undefined);
    }
    this.video.srcObject = media;
    await this.video.play().catch(() => {});
    const unwatch = watch(
      this.video,
      () => !document.hidden && (stream?.wantsPicture() ?? false),
      (jpeg, taken_ms) => stream?.sendPicture(jpeg, taken_ms),
    );
    this.stop = () => {
      unwatch();
      microphone?.close();
      stream?.stop();
      for (const track of media.getTracks()) track.stop();
      this.video.srcObject = null;
    };
    stream = new LiveStream({
      origin: this.origin(),
      key: this.getAttribute("key") ?? "",
      rate_hz: microphone?.rate_hz ?? 16_000,
      adapt: this.getAttribute("adapt") ?? "",
      onState: (state) => this.told(state),
      onAnswer: (answer) => this.show(answer),
      onNothing: ({ nothing }) => {
        this.state.textContent = `No answer: ${nothing}`;
      },
    });
    this.button.textContent = "Stop";
    for (const track of media.getTracks()) track.onended = () => this.end("A camera or microphone went away");
  }

  private end(why: string): void {
    if (!this.stop) return;
    this.stop();
    this.stop = undefined;
    this.button.textContent = "Start";
    this.state.textContent = `${why}. Camera and microphone are off`;
  }

  private told(state: StreamState): void {
    if (state.kind === "refused") this.end(`The server refused: ${state.why}`);
    else if (state.kind === "away") this.state.textContent = `Not connected: ${state.why}. Trying again in ${state.retry_s} s`;
    else this.state.textContent = state.kind === "open" ? "Connected" : "Connecting …";
  }

  private show(answer: Answer): void {
    const sure = answer.confidence >= SURE;
    this.label.textContent = sure ? answer.label : "Not sure";
    this.state.textContent = `Camera and microphone are on. From ${answer.modalities.map((each) => SENSES[each] ?? each).join(", ")}; ${Math.round(answer.lag_ms)} ms`;
    this.bars.replaceChildren(
      ...ranked(answer.probabilities)
        .slice(0, 3)
        .map(([label, share]) => {
          const row = document.createElement("li");
          const [name, bar, text] = [document.createElement("span"), document.createElement("i"), document.createElement("span")];
          name.textContent = label;
          bar.style.transform = `scaleX(${share})`;
          bar.style.backgroundColor = colourOf(label);
          text.textContent = `${Math.round(100 * share)} %`;
          row.append(name, bar, text);
          return row;
        }),
    );
    this.dispatchEvent(new CustomEvent<Answer>(ANSWER, { detail: answer }));
  }
}

if (!customElements.get("fedaffect-live")) customElements.define("fedaffect-live", FedaffectLive);
