import { colourOf, ranked } from "./emotions";

interface Props {
  probabilities: Record<string, number> | undefined;
  name: string;
  most?: number;
}

/** The likeliest emotions, each in the colour that it always has. */
export function Bars({ probabilities, name, most = 3 }: Props) {
  const rows = probabilities ? ranked(probabilities).slice(0, most) : [];
  return (
    <ul className="bars" aria-label={name}>
      {Array.from({ length: most }, (_, place) => {
        const [label, share] = rows[place] ?? ["", 0];
        return (
          <li key={place} aria-hidden={!label}>
            <span className="bar-name">{label || "\u00a0"}</span>
            <span className="bar-track">
              <span className="bar" style={{ transform: `scaleX(${share})`, backgroundColor: colourOf(label) }} />
            </span>
            <span className="bar-share">{label && percent(share)}</span>
          </li>
        );
      })}
    </ul>
  );
}

export function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}
