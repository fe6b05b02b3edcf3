import { type UseMutationResult, useMutation, useQueryClient } from "@tanstack/react-query";
import { Refused } from "../api/client";
import { isLogout, useAskAgain } from "./me";

export type Act<T> = UseMutationResult<{ done: string }, Error, T>;

/** An act of an operator; what it changed is asked for anew. */
export function useAct<T>(act: (given: T) => Promise<{ done: string }>): Act<T> {
  const queries = useQueryClient();
  const askAgain = useAskAgain();
  return useMutation({
    mutationFn: act,
    onError: (error) => isLogout(error) && askAgain(),
    onSettled: () => queries.invalidateQueries({ queryKey: ["console", "fleet"] }),
  });
}

/** What came of an act. */
export function Outcome<T>({ act }: { act: Act<T> }) {
  if (act.isError) {
    return <p role="alert">{act.error instanceof Refused ? act.error.message : "The server does not answer; try again."}</p>;
  }
  return <p role="status">{act.data ? `${act.data.done}.` : ""}</p>;
}
