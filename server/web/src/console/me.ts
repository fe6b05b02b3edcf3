// Who is logged in, as the server says it.
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback } from "react";
import { Refused, given } from "../api/client";
import { type Me, consoleClient } from "./api";

const KEY = ["console", "me"];

export function useMe() {
  return useQuery({
    queryKey: KEY,
    queryFn: async () => given(await consoleClient.GET("/v1/console/me")),
    // A login runs out while nobody does anything; a server that is away is asked until it answers.
    refetchInterval: ({ state: { error } }) => (error ? 2_000 : 60_000),
  });
}

/** Asks anew who is logged in, after a refusal that says that nobody is. */
export function useAskAgain(): () => void {
  const queries = useQueryClient();
  return useCallback(() => void queries.invalidateQueries({ queryKey: KEY }), [queries]);
}

/** Forgets all that was seen, and asks anew who is logged in. */
export function useForget(): () => Promise<void> {
  const queries = useQueryClient();
  return useCallback(async () => {
    queries.removeQueries({ predicate: ({ queryKey }) => queryKey[0] === "console" && queryKey[1] !== "me" });
    await queries.invalidateQueries({ queryKey: KEY });
  }, [queries]);
}

export const mayAct = (me: Me | undefined): boolean => me?.may_act ?? false;

/** Whether an error says that whoever asks is logged in no more. */
export const isLogout = (error: unknown): boolean => error instanceof Refused && error.status === 401;
