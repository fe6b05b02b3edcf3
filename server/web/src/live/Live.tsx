import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { type Prediction, client, given } from "../api/client";
import { Compared } from "../inbrowser/Compared";
import { type Where, WhereField } from "../inbrowser/Where";
import { useInBrowser } from "../inbrowser/useInBrowser";
import { KeepSession } from "../sessions/KeepSession";
import { AnswerCard } from "./AnswerCard";
import { FaceBoxes } from "./FaceBoxes";
import { NeutralField } from "./NeutralField";
import { OtherFaces, Senses } from "./Senses";
import { Trail } from "./Trail";
import { quantile } from "./emotions";
import { adjusted } from "./neutral";
import type { Answer } from "./stream";
import { type LiveState, type Sense, useLive } from "./useLive";
import { useKept } from "./useKept";
import { useNeutral } from "./useNeutral";

const SENSES = ["camera", "microphone"] as const;
/** Who waits longer for a turn is told why answers are rare. */
const CROWDED_S = 1;

interface Props {
  labels: string[];
  onAnswer: (answer: Prediction) => void;
}

export function Live({ labels, onAnswer }: Props) {
  const live = useLive();
  const here = useInBrowser();
  const [where, setWhere] = useState<Where>("server");
  const [beside, setBeside] = useState<Prediction>();
  const [wanted, setWanted] = useState<Record<Sense, boolean>>({ camera: true, microphone: true });
  const [ids, setIds] = useState<Record<Sense, string>>({ camera: "", microphone: "" });
  const [words, setWords] = useState("");
  const [latest, setLatest] = useState<Prediction | Answer>();
  const { neutral, measure, forget } = useNeutral(live.answer);
  const kept = useKept(live.answer);
  const queries = useQueryClient();
  const devices = useQuery({
    queryKey: ["devices"],
    queryFn: async () => (await navigator.mediaDevices?.enumerateDevices()) ?? [],
  });
  const asking = useMutation({
    mutationFn: async (text: string): Promise<Prediction> => {
      if (where === "browser") return await here.ask(text);
      const asked = client.POST("/v1/predict", { body: { text, adapt: "en" } });
      if (where === "both") setBeside(await here.ask(text));
      return given(await asked);
    },
    onSuccess: setLatest,
  });

  useEffect(() => {
    if (live.answer) setLatest(live.answer);
  }, [live.answer]);
  useEffect(() => {
    if (live.beside) setBeside(live.beside);
  }, [live.beside]);
  useEffect(() => {
    if (latest) onAnswer(latest);
  }, [latest, onAnswer]);
  useEffect(() => {
    const changed = () => void queries.invalidateQueries({ queryKey: ["devices"] });
    navigator.mediaDevices?.addEventListener("devicechange", changed);
    return () => navigator.mediaDevices?.removeEventListener("devicechange", changed);
  }, [queries]);
  // Devices have names only once the person has allowed them.
  useEffect(() => {
    if (live.state.kind === "open") void queries.invalidateQueries({ queryKey: ["devices"] });
  }, [live.state.kind, queries]);

  const stated = latest && adjusted(latest, neutral.kind === "measured" ? neutral.baseline : undefined);
  const explained = latest && "window_end_s" in latest ? latest : undefined;
  const idle = live.state.kind === "idle" || live.state.kind === "failed" || live.state.kind === "refused";
  return (
    <>
      <section className="card" aria-labelledby="input-title">
        <h2 id="input-title">What it sees and hears</h2>
        <div className="stage">
          <video ref={live.video} muted playsInline aria-label="Your camera" />
          {live.on.camera && <FaceBoxes video={live.video} faces={live.faces} />}
          {!live.on.camera && <p>{live.on.microphone ? "Listening" : "Camera off"}</p>}
        </div>
        <div className="row">
          <p className="indicator" role="status">
            <span className={idle ? "dot" : "dot live"} />
            {live.on.camera || live.on.microphone
              ? `On: ${SENSES.filter((sense) => live.on[sense]).join(" and ")}`
              : "Camera and microphone are off"}
          </p>
          <meter aria-label="Loudness of the microphone" min={0} max={1} value={live.level} />
        </div>
        <div className="devices">
          {SENSES.map((sense) => (
            <fieldset key={sense} disabled={!idle}>
              <legend>{sense}</legend>
              <label className="check">
                <input
                  type="checkbox"
                  checked={wanted[sense]}
                  onChange={(event) => setWanted({ ...wanted, [sense]: event.target.checked })}
                />
                Use it
              </label>
              <select
                aria-label={`Which ${sense}`}
                value={ids[sense]}
                onChange={(event) => setIds({ ...ids, [sense]: event.target.value })}
              >
                <option value="">The usual one</option>
                {(devices.data ?? [])
                  .filter((each) => each.deviceId && each.kind === (sense === "camera" ? "videoinput" : "audioinput"))
                  .map((each) => (
                    <option key={each.deviceId} value={each.deviceId}>
                      {each.label || each.deviceId.slice(0, 8)}
                    </option>
                  ))}
              </select>
            </fieldset>
          ))}
        </div>
        <WhereField
          where={where}
          state={here.state}
          disabled={!idle}
          onChange={(next) => {
            setWhere(next);
            setBeside(undefined);
          }}
        />
        <div className="row start">
          {idle ? (
            <button type="button" className="primary" onClick={() => {
                kept.forget();
                void live.start(wanted, ids, where);
              }}>
              Start
            </button>
          ) : (
            <button type="button" className="primary" onClick={live.stop}>
              Stop
            </button>
          )}
          <p role="status" className="state">
            {live.paused
              ? "Paused: this tab is in the background. Nothing is sent until it comes back."
              : live.state.kind === "open" && live.nothing
                ? `No answer: ${live.nothing}`
                : live.state.kind === "open" && live.lags.length
                  ? (live.answer?.waited_s ?? 0) > CROWDED_S
                  ? "Answering less often: the server has many to answer at once"
                  : "Answering"
                  : told(live.state)}
          </p>
        </div>
        <NeutralField
          neutral={neutral}
          disabled={idle || live.state.kind !== "open"}
          onMeasure={measure}
          onForget={forget}
        />
        {live.notices.map((notice) => (
          <p key={notice} role="alert">
            {notice}
          </p>
        ))}
        <form
          className="words"
          onSubmit={(event) => {
            event.preventDefault();
            if (!words.trim()) return;
            if (!live.say(words)) asking.mutate(words);
            setWords("");
          }}
        >
          <label htmlFor="words">What you say</label>
          <input id="words" value={words} maxLength={500} onChange={(event) => setWords(event.target.value)} />
          <button type="submit">Ask</button>
        </form>
        {asking.isError && <p role="alert">Not answered: {asking.error.message}</p>}
      </section>
      <div className="answers">
        <AnswerCard answer={stated} labels={labels} tell={live.tell} hold={live.hold} />
        {where === "both" && <Compared server={latest} browser={beside} />}
        <OtherFaces answer={explained} />
        <Senses answer={explained} />
        <Trail answer={explained} />
        <section className="card" aria-labelledby="keep-title">
          <h2 id="keep-title">Keep what was answered</h2>
          <p className="quiet">One answer a second, with its times. No pictures, sound or words.</p>
          <KeepSession kind="live" name="Live session" timeline={kept.timeline} disabled={!live.answer} />
        </section>
        <section className="card" aria-labelledby="facts-title">
          <h2 id="facts-title">How it was answered</h2>
          <dl className="facts">
            <Fact name="Lag, median" value={milliseconds(quantile(live.lags, 0.5))} />
            <Fact name="Lag, 95th percentile" value={milliseconds(quantile(live.lags, 0.95))} />
            <Fact name="Model" value={latest?.model_version} />
          </dl>
        </section>
        <section className="card" aria-labelledby="adaptation-title">
          <h2 id="adaptation-title">How an app would adapt</h2>
          <dl className="facts">
            <Fact name="Response" value={latest?.adaptation?.response} />
            <Fact name="Tone" value={latest?.adaptation?.tone} />
            <Fact name="Pace" value={latest?.adaptation?.pace} />
          </dl>
          <p className="cue" aria-live="polite">
            {latest?.adaptation?.cues[0] ?? "Nothing to say"}
          </p>
        </section>
      </div>
    </>
  );
}

function Fact({ name, value }: { name: string; value: string | undefined }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value ?? "–"}</dd>
    </div>
  );
}

function milliseconds(value: number | undefined): string | undefined {
  return value === undefined ? undefined : `${Math.round(value)} ms`;
}

function told(state: LiveState): string {
  switch (state.kind) {
    case "idle":
      return "";
    case "starting":
      return "Asking for camera and microphone …";
    case "connecting":
      return "Connecting …";
    case "open":
      return "Connected; waiting for the first answer";
    case "away":
      return `Not connected: ${state.why}. Trying again in ${state.retry_s} s; meanwhile nothing is answered.`;
    case "refused":
      return `The server refused: ${state.why}`;
    case "failed":
      return state.why;
  }
}
