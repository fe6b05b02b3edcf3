// Server-sent events, over servers that go away and logins that run out.
import { useEffect, useRef, useState } from "react";
import { EVENTS } from "./api";
import { useAskAgain } from "./me";

export type Link = "connecting" | "live" | "away";
const AGAIN_MS = 2_000;

/** Follows a stream below the console's address; `onEvent` gets each event, `open` after every (re)connection. */
export function useEvents(path: string, kinds: readonly string[], onEvent: (kind: string, data: unknown) => void): Link {
  const [link, setLink] = useState<Link>("connecting");
  const latest = useRef(onEvent);
  const askAgain = useAskAgain();
  useEffect(() => {
    latest.current = onEvent;
  });
  const all = ["open", "refresh", "away", "back", ...kinds].join();
  useEffect(() => {
    let source: EventSource | undefined;
    let timer = 0;
    const connect = () => {
      source = new EventSource(EVENTS + path);
      for (const kind of all.split(",")) {
        source.addEventListener(kind, (event) => {
          const said = (event as MessageEvent<string | undefined>).data;
          // The browser has an `open` of its own, which says nothing.
          if (said === undefined) return;
          // The server speaks; its registry may be away.
          setLink(kind === "away" ? "away" : "live");
          latest.current(kind, JSON.parse(said));
        });
      }
      source.addEventListener("ended", () => {
        source?.close();
        askAgain();
        timer = window.setTimeout(connect, AGAIN_MS);
      });
      source.addEventListener("error", () => {
        setLink("away");
        // The browser goes on by itself, with the newest event's number, unless the server refused.
        if (source?.readyState !== EventSource.CLOSED) return;
        askAgain();
        timer = window.setTimeout(connect, AGAIN_MS);
      });
    };
    connect();
    return () => {
      window.clearTimeout(timer);
      source?.close();
    };
  }, [path, all, askAgain]);
  return link;
}
