// One film: sent, followed while it is analysed, and sent again where the server forgot it.
import { useCallback, useEffect, useRef, useState } from "react";
import { Refused, client } from "../api/client";
import { type Timeline, grown } from "./timeline";
import { type FilmState, mayPass, upload } from "./upload";

const POLL_MS = 700;

export type Stage =
  | { kind: "none" }
  | { kind: "sending" | "analysing" | "done" }
  | { kind: "failed"; why: string };

export function useFilm() {
  const [file, setFile] = useState<File>();
  const [stage, setStage] = useState<Stage>({ kind: "none" });
  const [film, setFilm] = useState<FilmState>();
  const [timeline, setTimeline] = useState<Timeline>();
  const [notice, setNotice] = useState("");
  const giving = useRef<AbortController>(undefined);
  const held = useRef("");

  const forget = useCallback(() => {
    giving.current?.abort(new DOMException("given up", "AbortError"));
    if (held.current) void client.DELETE("/v1/films/{film_id}", { params: { path: { film_id: held.current } } });
    held.current = "";
    setFile(undefined);
    setFilm(undefined);
    setTimeline(undefined);
    setNotice("");
    setStage({ kind: "none" });
  }, []);

  const send = useCallback(
    async (chosen: File, settings: { window_s?: number; hop_s?: number } = {}) => {
      forget();
      const control = new AbortController();
      giving.current = control;
      const { signal } = control;
      setFile(chosen);
      setStage({ kind: "sending" });
      try {
        let known: Timeline | undefined;
        let again = true;
        while (again) {
          again = false;
          const begun = await upload(
            chosen,
            settings,
            {
              onProgress: (state) => {
                held.current = state.id;
                setFilm(state);
                setNotice("");
              },
              onWaiting: (why) => setNotice(`Not sent further: ${why}. Trying again; what was confirmed stays.`),
              onForgotten: () =>
                setNotice("The server does not have this film any more, so it is sent once more."),
            },
            signal,
          );
          known = undefined;
          setStage({ kind: "analysing" });
          for (;;) {
            try {
              known = await grown(begun.id, known, signal);
              setNotice("");
            } catch (error) {
              if (signal.aborted) throw error;
              if (error instanceof Refused && error.status === 404) {
                setNotice("The server was started again before the film was analysed, so it is sent once more.");
                setStage({ kind: "sending" });
                again = true;
                break;
              }
              if (!mayPass(error)) throw error;
              setNotice("The server cannot be reached. Trying again.");
            }
            if (known) {
              setTimeline(known);
              setFilm(known.film);
              if (known.film.state === "failed") throw new Error(known.film.error?.message ?? "the analysis failed");
              if (known.film.state === "done") return setStage({ kind: "done" });
            }
            await new Promise((resolve) => setTimeout(resolve, POLL_MS));
          }
        }
      } catch (error) {
        if (signal.aborted) return;
        setNotice("");
        setStage({ kind: "failed", why: error instanceof Error ? error.message : String(error) });
      }
    },
    [forget],
  );

  useEffect(() => () => giving.current?.abort(new DOMException("gone", "AbortError")), []);
  return { file, stage, film, timeline, notice, send, forget };
}
