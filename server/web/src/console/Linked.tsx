import type { Link } from "./events";

const SAID: Record<Link, string> = {
  connecting: "Connecting …",
  live: "Live: what changes is shown as it happens",
  away: "The server or its registry does not answer. What you see may be older; this page goes on trying",
};

/** Whether what is seen is how things stand now. */
export function Linked({ link }: { link: Link }) {
  return (
    <p role="status" className="indicator quiet mb-2!">
      <span className={`dot ${link === "live" ? "border-accent! bg-accent" : ""}`} aria-hidden="true" />
      {SAID[link]}
    </p>
  );
}
