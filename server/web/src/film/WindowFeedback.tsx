import { useMutation } from "@tanstack/react-query";
import { useId, useState } from "react";
import { client, given } from "../api/client";
import { type FilmWindow, clock } from "./timeline";

interface Props {
  window: FilmWindow | undefined;
  labels: string[];
  model_version: string;
}

/** Right or wrong about one window of a film. The window is held while it is thought about. */
export function WindowFeedback({ window, labels, model_version }: Props) {
  const id = useId();
  const [held, setHeld] = useState<FilmWindow>();
  const [label, setLabel] = useState("");
  const fused = window?.lanes["fused"];
  const sending = useMutation({
    mutationFn: async (said: { request_id: string; label: string }) => {
      const body = { idempotency_key: crypto.randomUUID(), model_version, consent: false, ...said };
      given(await client.POST("/v1/feedback", { body }));
    },
    onSuccess: () => setHeld(undefined),
  });
  return (
    <div className="mt-3 grid content-start gap-2">
      {held ? (
        <form
          className="grid gap-2"
          onSubmit={(event) => {
            event.preventDefault();
            sending.mutate({ request_id: held.request_id, label });
          }}
        >
          <label htmlFor={`${id}-label`}>
            From {clock(held.start_s)} to {clock(held.end_s)} it was
          </label>
          <select id={`${id}-label`} value={label} autoFocus onChange={(event) => setLabel(event.target.value)}>
            {labels.map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
          <div className="row start">
            <button type="submit" className="primary" disabled={sending.isPending}>
              Send
            </button>
            <button type="button" onClick={() => setHeld(undefined)}>
              Cancel
            </button>
          </div>
        </form>
      ) : (
        <div className="row start">
          <button
            type="button"
            disabled={!fused || !window?.request_id || sending.isPending}
            onClick={() => window && fused && sending.mutate({ request_id: window.request_id, label: fused.label })}
          >
            Right
          </button>
          <button
            type="button"
            disabled={!fused || !window?.request_id}
            onClick={() => {
              sending.reset();
              setLabel(labels.find((each) => each !== fused?.label) ?? "");
              setHeld(window);
            }}
          >
            Wrong, it was …
          </button>
        </div>
      )}
      {sending.isError ? (
        <p role="alert">Not sent: {sending.error.message}</p>
      ) : (
        <p className="quiet m-0" role="status">
          {sending.isSuccess && !held
            ? "Thank you. The server has kept the label; nothing is learned from it."
            : "Kept: the label and the number of the answer, nothing of the film."}
        </p>
      )}
    </div>
  );
}
