// The views of the page, in the order of its navigation. The first comes with the page; the others, by `lazy`, when they are opened.
import { type ComponentType, lazy, useSyncExternalStore } from "react";
import LiveView from "./live/LiveView";

export interface View {
  /** Its address: `#film`. What follows a slash is the view's own: `#fleet/runs/7`. */
  at: string;
  name: string;
  Body: ComponentType;
  /** Of operators: it asks for an account, not for an API key, and predicts nothing. */
  operators?: true;
}

export const VIEWS: readonly View[] = [
  { at: "live", name: "Live", Body: LiveView },
  { at: "film", name: "Film", Body: lazy(() => import("./film/FilmView")) },
  { at: "sessions", name: "Sessions", Body: lazy(() => import("./sessions/SessionsView")) },
  { at: "fleet", name: "Fleet", Body: lazy(() => import("./fleet/FleetView")), operators: true },
  { at: "research", name: "Research", Body: lazy(() => import("./research/ResearchView")), operators: true },
];

function address(): string {
  return window.location.hash.slice(1);
}

function subscribe(changed: () => void): () => void {
  window.addEventListener("hashchange", changed);
  return () => window.removeEventListener("hashchange", changed);
}

/** The view that the address names, the first where it names none, and the rest of the address. */
export function useView(): { view: View; rest: string } {
  const [at, ...rest] = useSyncExternalStore(subscribe, address).split("/");
  const view = VIEWS.find((each) => each.at === at) ?? VIEWS[0]!;
  return { view, rest: view.at === at ? rest.join("/") : "" };
}
