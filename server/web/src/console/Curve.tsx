import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import "./curve.css";

export interface Line {
  name: string;
  /** One a place of `x`; null where it was not measured. */
  values: readonly (number | null)[];
}

interface Props {
  title: string;
  x: readonly number[];
  lines: readonly Line[];
  /** How a value is written. */
  shown?: (value: number) => string;
  /** What the places are. */
  xName?: string;
}

// Told apart by dashes too.
const DASHES: readonly number[][] = [[], [8, 4], [2, 3], [10, 3, 2, 3], [4, 4], [1, 4]];
const HEIGHT = 220;

/** Curves, and the same figures as a table, which screen readers read and anybody may open. */
export function Curve({ title, x, lines, shown = (value) => value.toFixed(3), xName = "round" }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const names = lines.map((line) => line.name).join("\n");
  const plot = useRef<uPlot>(undefined);
  const data: uPlot.AlignedData = [[...x], ...lines.map((line) => [...line.values])];
  const newest = useRef(data);
  newest.current = data;
  const write = useRef(shown);
  write.current = shown;
  useEffect(() => {
    const at = place.current;
    if (!at) return;
    const scheme = window.matchMedia("(prefers-color-scheme: dark)");
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(at, names.split("\n"), xName, (value) => write.current(value)), newest.current, at);
    };
    draw();
    const fitted = new ResizeObserver(() => plot.current?.setSize({ width: at.clientWidth, height: HEIGHT }));
    fitted.observe(at);
    scheme.addEventListener("change", draw);
    return () => {
      scheme.removeEventListener("change", draw);
      fitted.disconnect();
      plot.current?.destroy();
      plot.current = undefined;
    };
  }, [names, xName]);
  useEffect(() => plot.current?.setData(newest.current), [data]);
  return (
    <figure className="m-0 min-w-0">
      <figcaption className="font-semibold">{title}</figcaption>
      <div ref={place} aria-hidden="true" className="curve" />
      <details>
        <summary>{title} as a table</summary>
        <div className="max-h-80 overflow-auto" tabIndex={0} role="region" aria-label={`${title}, table`}>
          <table>
            <thead>
              <tr>
                <th scope="col">{xName}</th>
                {lines.map((line) => (
                  <th key={line.name} scope="col">
                    {line.name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {x.map((at, row) => (
                <tr key={at}>
                  <th scope="row">{at}</th>
                  {lines.map((line) => {
                    const value = line.values[row];
                    return <td key={line.name}>{value == null ? "–" : shown(value)}</td>;
                  })}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </figure>
  );
}

function options(at: HTMLElement, names: string[], xName: string, shown: (value: number) => string): uPlot.Options {
  const style = getComputedStyle(at);
  const text = style.getPropertyValue("--text");
  const line = style.getPropertyValue("--curve-line");
  const colours = [0, 1, 2, 3, 4, 5].map((place) => style.getPropertyValue(`--curve-${place}`));
  const axis = { stroke: text, font: "12px system-ui, sans-serif", grid: { stroke: line, width: 1 }, ticks: { stroke: line } };
  return {
    width: at.clientWidth,
    height: HEIGHT,
    cursor: { drag: { x: false, y: false } },
    scales: { x: { time: false } },
    series: [
      { label: xName, value: (_, value) => (value == null ? "–" : String(value)) },
      ...names.map((label, place) => ({
        label,
        stroke: colours[place % colours.length]!,
        dash: DASHES[place % DASHES.length]!,
        width: 2,
        spanGaps: true,
        points: { size: 6 },
        value: (_: uPlot, value: number | null) => (value == null ? "–" : shown(value)),
      })),
    ],
    axes: [
      { ...axis, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] },
      { ...axis, size: 64, values: (_, ticks) => ticks.map((tick) => shown(tick)) },
    ],
  };
}
