import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useId, useState } from "react";
import { type KeptTimeline, keepSession } from "./keep";

interface Props {
  kind: "film" | "live";
  name: string;
  /** Asked for when the person keeps it. */
  timeline: () => KeptTimeline;
  disabled?: boolean;
}

/** A button that keeps a session, after it has said what is kept. */
export function KeepSession({ kind, name, timeline, disabled }: Props) {
  const id = useId();
  const queries = useQueryClient();
  const [open, setOpen] = useState(false);
  const [called, setCalled] = useState(name);
  const [notes, setNotes] = useState("");
  const keeping = useMutation({
    mutationFn: () => keepSession({ kind, name: called.trim() || name, notes, timeline: timeline() }),
    onSuccess: () => {
      setOpen(false);
      void queries.invalidateQueries({ queryKey: ["sessions"] });
    },
  });
  if (!open)
    return (
      <div className="row start">
        <button
          type="button"
          disabled={disabled}
          onClick={() => {
            keeping.reset();
            setCalled(name);
            setOpen(true);
          }}
        >
          Keep this session
        </button>
        <p role="status" className="quiet m-0">
          {keeping.data && (
            <>
              Kept until {new Date(keeping.data.until).toLocaleDateString()}: <a href={`#sessions/${keeping.data.id}`}>see it</a>
            </>
          )}
        </p>
      </div>
    );
  return (
    <form
      className="grid max-w-lg gap-2"
      onSubmit={(event) => {
        event.preventDefault();
        keeping.mutate();
      }}
    >
      <label htmlFor={`${id}-name`}>Name of the session</label>
      <input id={`${id}-name`} value={called} maxLength={200} autoFocus onChange={(event) => setCalled(event.target.value)} />
      <label htmlFor={`${id}-notes`}>Notes</label>
      <textarea
        id={`${id}-notes`}
        rows={2}
        maxLength={10_000}
        className="rounded-lg border border-quiet bg-background px-3 py-1 text-text [font:inherit]"
        value={notes}
        onChange={(event) => setNotes(event.target.value)}
      />
      <p className="quiet m-0">
        Kept on the server: what was answered when, words that were found, and your notes. Never pictures or sound. You
        can delete it for good under Sessions.
      </p>
      <div className="row start">
        <button type="submit" className="primary" disabled={keeping.isPending}>
          Keep
        </button>
        <button type="button" onClick={() => setOpen(false)}>
          Cancel
        </button>
      </div>
      {keeping.isError && <p role="alert">Not kept: {keeping.error.message}</p>}
    </form>
  );
}
