import { useEffect, useRef, useState } from "react";
import type { Answer } from "./stream";

const KEPT = 80;
const SIDE = 220;

interface Props {
  answer: Answer | undefined;
}

/** Where valence and arousal have been in the last seconds. */
export function Trail({ answer }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [trail, setTrail] = useState<[number, number][]>([]);
  const affect = answer?.affect;

  useEffect(() => {
    if (affect) setTrail((before) => [...before.slice(1 - KEPT), [affect.valence, affect.arousal]]);
  }, [affect]);
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (context) draw(context, trail);
  }, [trail]);

  return (
    <section className="card" aria-labelledby="trail-title">
      <h2 id="trail-title">Valence and arousal</h2>
      <div className="trail">
        <canvas ref={canvas} width={2 * SIDE} height={2 * SIDE} role="img" aria-label={described(affect)} />
        <div>
          <p className="m-0">{described(affect)}</p>
          <p className="quiet">
            {affect
              ? affect.derived
                ? "Derived: the mean of fixed places of the labels, weighted by their probabilities. The model did not rate it."
                : "Rated by the model itself."
              : "Right is pleasant, up is excited."}
          </p>
        </div>
      </div>
    </section>
  );
}

function described(affect: Answer["affect"]): string {
  if (!affect) return "No place yet";
  const { valence, arousal } = affect;
  const pleasant = Math.abs(valence) < 0.15 ? "neither pleasant nor unpleasant" : valence > 0 ? "pleasant" : "unpleasant";
  const excited = Math.abs(arousal) < 0.15 ? "neither calm nor excited" : arousal > 0 ? "excited" : "calm";
  return `Valence ${valence.toFixed(1)}, arousal ${arousal.toFixed(1)}: ${pleasant}, ${excited}`;
}

function draw(context: CanvasRenderingContext2D, trail: [number, number][]): void {
  const style = getComputedStyle(context.canvas);
  const side = context.canvas.width;
  const at = ([valence, arousal]: [number, number]) => [(side * (1 + valence)) / 2, (side * (1 - arousal)) / 2] as const;
  context.clearRect(0, 0, side, side);
  context.strokeStyle = style.getPropertyValue("--quiet");
  context.fillStyle = style.getPropertyValue("--quiet");
  context.lineWidth = 1;
  context.globalAlpha = 0.5;
  context.beginPath();
  context.moveTo(0, side / 2);
  context.lineTo(side, side / 2);
  context.moveTo(side / 2, 0);
  context.lineTo(side / 2, side);
  context.stroke();
  context.beginPath();
  context.arc(side / 2, side / 2, side / 2 - 1, 0, 2 * Math.PI);
  context.stroke();
  context.globalAlpha = 1;
  context.font = "30px system-ui, sans-serif";
  context.textAlign = "center";
  context.fillText("excited", side / 2, 40);
  context.fillText("calm", side / 2, side - 20);
  context.textAlign = "left";
  context.fillText("unpleasant", 12, side / 2 - 10);
  context.textAlign = "right";
  context.fillText("pleasant", side - 12, side / 2 - 10);
  context.strokeStyle = context.fillStyle = style.getPropertyValue("--accent");
  context.lineWidth = 5;
  context.lineCap = "round";
  trail.slice(1).forEach((to, place) => {
    context.globalAlpha = 0.1 + (0.7 * (place + 1)) / trail.length;
    context.beginPath();
    context.moveTo(...at(trail[place]!));
    context.lineTo(...at(to));
    context.stroke();
  });
  context.globalAlpha = 1;
  const last = trail.at(-1);
  if (!last) return;
  context.beginPath();
  context.arc(...at(last), 11, 0, 2 * Math.PI);
  context.fill();
}
