// What the page knows of camera, microphone and connection, and the ways to change it.
import { useCallback, useEffect, useRef, useState } from "react";
import { useApiKey } from "../api/key";
import type { Where } from "../inbrowser/Where";
import { BrowserStream, type FaceBox } from "../inbrowser/browserStream";
import { watch } from "./camera";
import { type Microphone, listen } from "./microphone";
import { type Answer, type Face, type Feedback, LiveStream, type StreamState } from "./stream";

export type Sense = "camera" | "microphone";
export type LiveState = { kind: "idle" } | { kind: "starting" } | { kind: "failed"; why: string } | StreamState;

const NOBODY: Face[] = [];

/** The one face that this browser follows. */
function alone({ box, width, height }: FaceBox): Face {
  const [left, top, right, bottom] = box;
  return { id: 1, box: [left / width, top / height, right / width, bottom / height], fused: true };
}

const NO_RATE_HZ = 16_000;
const LAGS = 120;

/** What a browser's refusal means, and what to do. */
function explained(error: unknown, sense: Sense): string {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError" || name === "SecurityError")
    return `The browser was not allowed to use the ${sense}. Allow it beside the address, then start again.`;
  if (name === "NotFoundError" || name === "OverconstrainedError")
    return `No ${sense} was found. Connect one, or switch the ${sense} off here.`;
  if (name === "NotReadableError") return `The ${sense} is used by another program. Close that, then start again.`;
  return `The ${sense} could not be opened: ${String(error)}`;
}

async function opened(sense: Sense, id: string): Promise<MediaStream> {
  const chosen = id ? { deviceId: { exact: id } } : {};
  return await navigator.mediaDevices.getUserMedia(
    sense === "camera" ? { video: { width: 640, height: 480, ...chosen } } : { audio: { channelCount: 1, ...chosen } },
  );
}

export function useLive() {
  const key = useApiKey();
  const video = useRef<HTMLVideoElement>(null);
  const running = useRef<
    { stream: LiveStream | undefined; say: (text: string) => boolean; close: () => void } | undefined
  >(undefined);
  const turn = useRef(0);
  const [state, setState] = useState<LiveState>({ kind: "idle" });
  const [notices, setNotices] = useState<string[]>([]);
  const [on, setOn] = useState<Record<Sense, boolean>>({ camera: false, microphone: false });
  const [answer, setAnswer] = useState<Answer>();
  /** Of the browser, where both are asked. */
  const [beside, setBeside] = useState<Answer>();
  const [faces, setFaces] = useState<Face[]>(NOBODY);
  /** Why the newest window has no answer; empty where it has. */
  const [nothing, setNothing] = useState("");
  const [paused, setPaused] = useState(false);
  const [lags, setLags] = useState<number[]>([]);
  const [level, setLevel] = useState(0);

  const stop = useCallback(() => {
    turn.current++;
    running.current?.close();
    running.current = undefined;
    setOn({ camera: false, microphone: false });
    setLevel(0);
    setFaces(NOBODY);
    setNothing("");
    setPaused(false);
    setState({ kind: "idle" });
  }, []);

  const start = useCallback(
    async (wanted: Record<Sense, boolean>, ids: Record<Sense, string>, where: Where = "server") => {
      stop();
      const mine = ++turn.current;
      setState({ kind: "starting" });
      setNotices([]);
      setLags([]);
      if (!window.isSecureContext || !navigator.mediaDevices) {
        setState({ kind: "failed", why: "Browsers give camera and microphone to https and localhost only. Text works." });
        return;
      }
      const media: Partial<Record<Sense, MediaStream>> = {};
      const said: string[] = [];
      for (const sense of ["camera", "microphone"] as const) {
        if (!wanted[sense]) continue;
        try {
          media[sense] = await opened(sense, ids[sense]);
        } catch (error) {
          said.push(explained(error, sense));
        }
      }
      const tracks = Object.values(media).flatMap((each) => each.getTracks());
      const release = () => {
        for (const track of tracks) track.stop();
      };
      if (mine !== turn.current) return release();
      setNotices(said);
      if (tracks.length === 0) {
        setState({ kind: "failed", why: said.length ? "" : "Switch on the camera or the microphone, or write." });
        return;
      }
      let stream: LiveStream | undefined;
      let here: BrowserStream | undefined;
      let microphone: Microphone | undefined;
      let unwatch = () => {};
      try {
        if (media.microphone) microphone = await listen(media.microphone, (pcm) => {
            if (document.hidden) return;
            here?.sendSound(pcm);
            stream?.sendSound(pcm);
          });
      } catch (error) {
        setNotices([...said, explained(error, "microphone")]);
      }
      if (media.camera && video.current) {
        video.current.srcObject = media.camera;
        await video.current.play().catch(() => {});
        // Where the browser answers alone, no picture is made that could be sent.
        if (where !== "browser")
          unwatch = watch(
            video.current,
            () => !document.hidden && (stream?.wantsPicture() ?? false),
            (jpeg, taken_ms) => stream?.sendPicture(jpeg, taken_ms),
          );
      }
      const meter = setInterval(() => setLevel(microphone?.level() ?? 0), 150);
      const close = () => {
        clearInterval(meter);
        unwatch();
        microphone?.close();
        stream?.stop();
        here?.stop();
        release();
        if (video.current) video.current.srcObject = null;
      };
      if (mine !== turn.current) return close();
      const onAnswer = (next: Answer) => {
        setAnswer(next);
        if (next.faces) setFaces(next.faces);
        setNothing("");
        // Lag is to what is seen: the answer is on screen with the next frame.
        const came = performance.now();
        requestAnimationFrame(() =>
          setLags((before) => [...before.slice(1 - LAGS), next.lag_ms + performance.now() - came]),
        );
      };
      const options = { key, rate_hz: microphone?.rate_hz ?? NO_RATE_HZ };
      setBeside(undefined);
      if (where !== "browser")
        stream = new LiveStream({
          ...options,
          onState: (next) => {
            setState(next);
            if (next.kind !== "open") setFaces(NOBODY);
          },
          onNothing: (next) => {
            setFaces(next.faces);
            setNothing(next.nothing);
          },
          onAnswer,
        });
      if (where !== "server") {
        here = new BrowserStream({
          ...options,
          camera: Boolean(media.camera),
          microphone: Boolean(microphone),
          onState: where === "browser" ? setState : () => {},
          onAnswer: where === "browser" ? onAnswer : setBeside,
          onFace: (face) => where === "browser" && setFaces(face ? [alone(face)] : NOBODY),
        });
        if (media.camera && video.current) here.watch(video.current);
      }
      running.current = {
        stream,
        say: (text) => {
          const sent = [here?.sendWords(text), stream?.sendWords(text)];
          return sent.some((each) => each);
        },
        close,
      };
      setOn({ camera: Boolean(media.camera), microphone: Boolean(media.microphone) });
      for (const sense of ["camera", "microphone"] as const) {
        for (const track of media[sense]?.getTracks() ?? []) {
          track.onended = () => {
            setNotices((before) => [...before, `The ${sense} went away. Connect it, then start again.`]);
            setOn((before) => ({ ...before, [sense]: false }));
            if (tracks.every((each) => each.readyState === "ended")) stop();
          };
        }
      }
    },
    [key, stop],
  );

  useEffect(() => {
    const changed = () => setPaused(document.hidden && running.current !== undefined);
    document.addEventListener("visibilitychange", changed);
    return () => document.removeEventListener("visibilitychange", changed);
  }, []);

  const hold = useCallback((id: string) => running.current?.stream?.hold(id), []);
  const tell = useCallback((feedback: Feedback) => running.current?.stream?.tell(feedback), []);
  const say = useCallback((text: string) => running.current?.say(text) ?? false, []);

  useEffect(() => stop, [stop]);
  return { video, state, notices, on, answer, beside, faces, nothing, paused, lags, level, start, stop, say, hold, tell };
}
