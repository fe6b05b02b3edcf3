import { useMutation } from "@tanstack/react-query";
import { useId, useState } from "react";
import { type Prediction, client, given } from "../api/client";

interface Props {
  answer: Prediction | undefined;
  /** The answer being judged; while there is one, the view stands still. */
  held: Prediction | undefined;
  labels: string[];
  onHold: () => void;
  onDone: () => void;
}

/** Right or wrong, with consent asked each time. */
export function Correction({ answer, held, labels, onHold, onDone }: Props) {
  const id = useId();
  const [label, setLabel] = useState("");
  const [consent, setConsent] = useState(false);
  const sending = useMutation({
    mutationFn: async () => {
      if (!held) return;
      const body = {
        idempotency_key: crypto.randomUUID(),
        request_id: held.request_id,
        model_version: held.model_version,
        label,
        consent,
      };
      given(await client.POST("/v1/feedback", { body }));
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
          {sending.isSuccess ? "Thank you. The server has kept what you said." : "\u00a0"}
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
        Sent and kept either way: this label, the number of the answer, the model’s version, and your yes or no. Never
        picture, sound or words.
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
