import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { client, given } from "../api/client";
import { Player } from "../film/Player";
import { Dialog } from "../ui/Dialog";
import { Shares } from "./Shares";
import { Facts } from "./Facts";
import { drawn, useSession } from "./kept";

/** One kept session: summary, timeline, notes, and its end. */
export function Session({ id }: { id: string }) {
  const found = useSession(id);
  const queries = useQueryClient();
  const [notes, setNotes] = useState("");
  const [asking, setAsking] = useState(false);
  const session = found.data?.session;
  useEffect(() => setNotes(session?.notes ?? ""), [session?.notes]);
  const timeline = useMemo(() => (found.data ? drawn(found.data.timeline) : undefined), [found.data]);
  const params = { path: { session_id: id } };
  const saving = useMutation({
    mutationFn: async () => given(await client.PATCH("/v1/sessions/{session_id}", { params, body: { notes } })),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["sessions"] }),
  });
  const deleting = useMutation({
    mutationFn: async () => given(await client.DELETE("/v1/sessions/{session_id}", { params })),
    onSuccess: () => {
      window.location.hash = "#sessions";
      queries.removeQueries({ queryKey: ["sessions"] });
    },
    onSettled: () => setAsking(false),
  });
  return (
    <div className="grid gap-4 [&>*]:min-w-0">
      <p className="m-0">
        <a href="#sessions">All kept sessions</a>
      </p>
      {found.isPending && <p role="status">Opening …</p>}
      {found.isError && <p role="alert">Not opened: {found.error.message}</p>}
      {session && timeline && (
        <>
          <section className="card" aria-labelledby="session-title">
            <div className="row">
              <h2 id="session-title" className="min-w-0 truncate">
                {session.name}
              </h2>
              <button type="button" onClick={() => setAsking(true)}>
                Delete for good
              </button>
            </div>
            <Shares shares={session.summary.shares} />
            <Facts session={session} />
            <form
              className="mt-3 grid gap-2"
              onSubmit={(event) => {
                event.preventDefault();
                saving.mutate();
              }}
            >
              <label htmlFor="session-notes">Notes</label>
              <textarea
                id="session-notes"
                rows={3}
                maxLength={10_000}
                className="rounded-lg border border-quiet bg-background px-3 py-1 text-text [font:inherit]"
                value={notes}
                onChange={(event) => setNotes(event.target.value)}
              />
              <div className="row start">
                <button type="submit" disabled={saving.isPending || notes === session.notes}>
                  Save notes
                </button>
                <p role="status" className="quiet m-0">
                  {saving.isSuccess && notes === session.notes ? "Saved." : ""}
                </p>
              </div>
              {saving.isError && <p role="alert">Not saved: {saving.error.message}</p>}
            </form>
            {deleting.isError && <p role="alert">Not deleted: {deleting.error.message}</p>}
          </section>
          <Player timeline={timeline} />
          <Dialog
            title="Delete this session for good?"
            about={`“${session.name}”, its timeline and notes are deleted on the server, and cannot be brought back.`}
            open={asking}
            onClose={() => setAsking(false)}
          >
            <button type="button" onClick={() => setAsking(false)}>
              Keep it
            </button>
            <button type="button" className="primary" disabled={deleting.isPending} onClick={() => deleting.mutate()}>
              Delete
            </button>
          </Dialog>
        </>
      )}
    </div>
  );
}
