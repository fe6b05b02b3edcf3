// A kept session as the film's timeline is drawn.
import { useQuery } from "@tanstack/react-query";
import { client, given } from "../api/client";
import { useApiKey } from "../api/key";
import type { Timeline } from "../film/timeline";
import type { KeptTimeline } from "./keep";

export function useSession(session_id: string) {
  const key = useApiKey();
  return useQuery({
    queryKey: ["sessions", key, session_id],
    queryFn: async () => given(await client.GET("/v1/sessions/{session_id}", { params: { path: { session_id } } })),
  });
}

export function drawn(kept: KeptTimeline): Timeline {
  const { windows } = kept;
  const end_s = Math.max(...windows.map((each) => each.end_s));
  return {
    film: {
      id: "",
      state: "done",
      size_bytes: 0,
      received_bytes: 0,
      duration_s: end_s,
      analysed_s: end_s,
      windows: windows.length,
    },
    window_s: 0,
    hop_s: 0,
    labels: kept.labels,
    lanes: kept.lanes,
    model_version: kept.model_version ?? "",
    first: 0,
    windows: windows.map((each) => ({ ...each, request_id: "", note: "" })),
    words: kept.words ?? [],
    words_note: "",
    changes: kept.changes ?? [],
    notes: [],
  };
}
