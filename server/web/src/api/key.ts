// The API key: given by the person, kept until the tab closes, sent to this server alone.
import { useSyncExternalStore } from "react";

const NAME = "fedaffect.key";
const listeners = new Set<() => void>();

export function apiKey(): string {
  return sessionStorage.getItem(NAME) ?? "";
}

export function setApiKey(key: string): void {
  if (key) sessionStorage.setItem(NAME, key);
  else sessionStorage.removeItem(NAME);
  for (const listener of listeners) listener();
}

export function useApiKey(): string {
  return useSyncExternalStore((changed) => {
    listeners.add(changed);
    return () => listeners.delete(changed);
  }, apiKey);
}
