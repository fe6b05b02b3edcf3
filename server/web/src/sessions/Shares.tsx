import { colourOf } from "../live/emotions";

/** The share of each emotion: one bar, and the same in words. */
export function Shares({ shares }: { shares: Record<string, number> }) {
  const rows = Object.entries(shares).sort((a, b) => b[1] - a[1]);
  return (
    <>
      <div aria-hidden className="my-1.5 flex h-3 overflow-hidden rounded">
        {rows.map(([label, share]) => (
          <span key={label} style={{ width: `${100 * share}%`, backgroundColor: colourOf(label) }} />
        ))}
      </div>
      <p className="quiet m-0">{rows.map(([label, share]) => `${label} ${Math.round(100 * share)} %`).join(", ")}</p>
    </>
  );
}
