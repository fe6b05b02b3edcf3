import { useMutation } from "@tanstack/react-query";
import { useId, useState } from "react";
import { client, given } from "../api/client";
import { thanks } from "../live/Correction";
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
  const [consent, setConsent] = useState(false);
  const fused = window?.lanes["fused"];
  const sending = useMutation({
    mutationFn: async (said: { request_id: string; label: string; consent: boolean }) => {
      const body = { idempotency_key: crypto.randomUUID(), model_version, ...said };
      return given(await client.POST("/v1/feedback", { body })).features;
    },
    onSuccess: () => setHeld(undefined),
  });
  function judge(chosen: string) {
    sending.reset();
    setConsent(false);
    setLabel(chosen);
    setHeld(window);
  }

  return (
    <div className="mt-3 grid content-start gap-2">
      {held ? (
        <form
          className="grid gap-2"
          onSubmit={(event) => {
            event.preventDefault();
            sending.mutate({ request_id: held.request_id, label, consent });
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
          <label className="check">
            <input type="checkbox" checked={consent} onChange={(event) => setConsent(event.target.checked)} />
            The server may learn from this window
          </label>
          <p className="quiet m-0">
            Kept either way: this label, the number of the answer, the model’s version, and your yes or no. With your
            yes, also the numbers that the encoders made of its seconds. Never the film, its sound or words.
          </p>
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
            onClick={() => judge(fused?.label ?? "")}
          >
            Right
          </button>
          <button
            type="button"
            disabled={!fused || !window?.request_id}
            onClick={() => judge(labels.find((each) => each !== fused?.label) ?? "")}
          >
            Wrong, it was …
          </button>
        </div>
      )}
      {sending.isError ? (
        <p role="alert">Not sent: {sending.error.message}</p>
      ) : (
        <p className="quiet m-0" role="status">
          {sending.isSuccess && !held ? thanks(sending.data) : "\u00a0"}
        </p>
      )}
    </div>
  );
}
