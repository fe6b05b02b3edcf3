import { useCallback, useSyncExternalStore } from "react";
import { useApiKey } from "../api/key";
import { type EngineState, engine } from "./engine";
import type { Answer } from "./device";
import type { Modality } from "./manifest";

/** The bundle in this browser: what is known of it, and how to open, ask and close it. */
export function useInBrowser(): {
  state: EngineState;
  open: (senses: Modality[]) => void;
  close: () => void;
  ask: (text: string) => Promise<Answer>;
} {
  const key = useApiKey();
  const state = useSyncExternalStore(engine.subscribe, () => engine.state);
  const open = useCallback((senses: Modality[]) => engine.open(key, senses), [key]);
  const close = useCallback(() => engine.close(), []);
  const ask = useCallback(
    async (text: string) => {
      engine.open(key, ["text"]);
      return await engine.predict({ text });
    },
    [key],
  );
  return { state, open, close, ask };
}
