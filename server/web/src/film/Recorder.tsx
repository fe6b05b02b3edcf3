import { useEffect, useRef, useState } from "react";
import { clock } from "./timeline";

interface Props {
  onFilm: (file: File) => void;
}

type State = { kind: "off" } | { kind: "asking" } | { kind: "on"; since: number } | { kind: "failed"; why: string };

function explained(error: unknown): string {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError")
    return "The browser was not allowed to use camera and microphone. Allow them beside the address, then record again.";
  if (name === "NotFoundError") return "No camera with a microphone was found. Connect one, or choose a film instead.";
  return `Nothing could be recorded: ${String(error)}`;
}

/** Records with camera and microphone; the recording becomes a film like any other. */
export function Recorder({ onFilm }: Props) {
  const [state, setState] = useState<State>({ kind: "off" });
  const [seconds, setSeconds] = useState(0);
  const video = useRef<HTMLVideoElement>(null);
  const running = useRef<{ recorder: MediaRecorder; stream: MediaStream }>(undefined);

  async function start() {
    if (!window.isSecureContext || !navigator.mediaDevices || !("MediaRecorder" in window)) {
      setState({ kind: "failed", why: "Browsers record for https and localhost only. Choose a film instead." });
      return;
    }
    setState({ kind: "asking" });
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 }, audio: true });
      const recorder = new MediaRecorder(stream);
      const pieces: Blob[] = [];
      recorder.ondataavailable = (event) => pieces.push(event.data);
      recorder.onstop = () => {
        for (const track of stream.getTracks()) track.stop();
        running.current = undefined;
        setState({ kind: "off" });
        const type = recorder.mimeType || "video/webm";
        if (pieces.length) onFilm(new File(pieces, type.includes("mp4") ? "recording.mp4" : "recording.webm", { type }));
      };
      running.current = { recorder, stream };
      if (video.current) {
        video.current.srcObject = stream;
        void video.current.play();
      }
      recorder.start(1_000);
      setSeconds(0);
      setState({ kind: "on", since: performance.now() });
    } catch (error) {
      setState({ kind: "failed", why: explained(error) });
    }
  }

  useEffect(() => {
    if (state.kind !== "on") return;
    const timer = setInterval(() => setSeconds((performance.now() - state.since) / 1000), 250);
    return () => clearInterval(timer);
  }, [state]);
  useEffect(
    () => () => {
      if (!running.current) return;
      running.current.recorder.onstop = null;
      for (const track of running.current.stream.getTracks()) track.stop();
    },
    [],
  );

  const on = state.kind === "on";
  return (
    <section className="card" aria-labelledby="record-title">
      <h2 id="record-title">Or record one</h2>
      <div className="stage !max-h-48">
        <video ref={video} muted playsInline aria-label="Your camera" />
        {!on && <p>Camera off</p>}
      </div>
      <div className="row start">
        {on ? (
          <button type="button" className="primary" onClick={() => running.current?.recorder.stop()}>
            Stop and use it
          </button>
        ) : (
          <button type="button" disabled={state.kind === "asking"} onClick={() => void start()}>
            Record
          </button>
        )}
        <p className="indicator" role="status">
          <span className={on ? "dot live" : "dot"} />
          {on ? "Recording" : state.kind === "asking" ? "Asking for camera and microphone …" : "Not recording"}
        </p>
        {on && <span className="tabular-nums">{clock(seconds)}</span>}
      </div>
      {state.kind === "failed" && <p role="alert">{state.why}</p>}
    </section>
  );
}
