import { useMutation } from "@tanstack/react-query";
import { useId, useState } from "react";
import { type Prediction, client, given } from "../api/client";
import { SENSES } from "./emotions";
import type { Feedback, Taken } from "./stream";

/** Over the stream; undefined where there is none. */
export type Tell = (feedback: Feedback) => Promise<Taken> | undefined;

interface Props {
  answer: Prediction | undefined;
  /** The answer being judged; while there is one, the view stands still. */
  held: Prediction | undefined;
  labels: string[];
  tell: Tell | undefined;
  onHold: () => void;
  onDone: () => void;
}

/** Right or wrong, with consent asked each time. */
export function Correction({ answer, held, labels, tell, onHold, onDone }: Props) {
  const id = useId();
  const [label, setLabel] = useState("");
  const [consent, setConsent] = useState(false);
  const sending = useMutation({
    mutationFn: async (): Promise<readonly string[]> => {
      if (!held) return [];
      const body = {
        idempotency_key: crypto.randomUUID(),
        request_id: held.request_id,
        model_version: held.model_version,
        label,
        consent,
      };
      const taken = await tell?.(body);
      if (taken?.accepted) return taken.features ?? [];
      if (taken?.error && taken.error.type !== "Lost") throw new Error(taken.error.message);
      // Without a stream, or where it broke before it was confirmed: the same key, so that it is kept once.
      return given(await client.POST("/v1/feedback", { body })).features;
    },
    onSuccess: onDone,
  });

  function judge(chosen: string) {
    sending.reset();
    setConsent(false);
    setLabel(chosen);
    onHold();
  }

  if (!held) {
    return (
      <div className="correction">
        <div className="row start">
          <button type="button" disabled={!answer} onClick={() => judge(answer?.label ?? "")}>
            Right
          </button>
          <button
            type="button"
            disabled={!answer}
            onClick={() => judge(labels.find((each) => each !== answer?.label) ?? "")}
          >
            Wrong, it was …
          </button>
        </div>
        <p className="quiet" role="status">
          {sending.isSuccess ? thanks(sending.data) : "\u00a0"}
        </p>
      </div>
    );
  }
  return (
    <form
      className="correction"
      onSubmit={(event) => {
        event.preventDefault();
        sending.mutate();
      }}
    >
      <label htmlFor={`${id}-label`}>It was</label>
      <select id={`${id}-label`} value={label} autoFocus onChange={(event) => setLabel(event.target.value)}>
        {labels.map((each) => (
          <option key={each}>{each}</option>
        ))}
      </select>
      <label className="check">
        <input type="checkbox" checked={consent} onChange={(event) => setConsent(event.target.checked)} />
        The server may learn from this answer
      </label>
      <p className="quiet">
        Kept either way: this label, the number of the answer, the model’s version, and your yes or no. With your yes,
        of a live answer, also the numbers that the encoders made of its three seconds. Never picture, sound or words
        themselves.
      </p>
      <div className="row start">
        <button type="submit" className="primary" disabled={sending.isPending}>
          Send
        </button>
        <button type="button" onClick={onDone}>
          Cancel
        </button>
      </div>
      {sending.isError && <p role="alert">Not sent: {sending.error.message}</p>}
    </form>
  );
}

/** What was kept. */
export function thanks(features: readonly string[]): string {
  const kept = features.map((each) => SENSES[each] ?? each).join(", ");
  return `Thank you. The server has kept what you said${kept ? `, with the numbers of ${kept} to learn from` : ""}.`;
}
