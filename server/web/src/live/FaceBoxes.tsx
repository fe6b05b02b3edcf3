import { useEffect, useRef } from "react";
import { ranked } from "./emotions";
import type { Face } from "./stream";

interface Props {
  video: React.RefObject<HTMLVideoElement | null>;
  faces: Face[];
}

type Box = Face["box"];

/** How much of the way to where a face was seen last a box goes in a sixtieth of a second. */
const PACE = 0.3;

/** A box with its id over each face. Answers move it some times a second, and the browser glides it there between. */
export function FaceBoxes({ video, faces }: Props) {
  const layer = useRef<HTMLDivElement>(null);
  const target = useRef<Face[]>(faces);
  const placed = useRef(new Map<number, Box>());
  target.current = faces;

  useEffect(() => {
    let handle = requestAnimationFrame(draw);
    let before = performance.now();
    function draw(now: number): void {
      handle = requestAnimationFrame(draw);
      const pace = reduced.matches ? 1 : 1 - (1 - PACE) ** ((60 * (now - before)) / 1000);
      before = now;
      const place = video.current && layer.current ? placing(video.current, layer.current) : undefined;
      if (!place || !layer.current) return;
      const seen = new Set(target.current.map((face) => face.id));
      for (const id of placed.current.keys()) if (!seen.has(id)) placed.current.delete(id);
      for (const { id, box } of target.current) {
        const was = placed.current.get(id) ?? box;
        const is = was.map((side, at) => side + pace * (box[at]! - side)) as Box;
        placed.current.set(id, is);
        const element = layer.current.querySelector<HTMLElement>(`[data-face="${id}"]`);
        if (!element) continue;
        const [left, top, right, bottom] = place(is);
        element.style.transform = `translate(${left}px, ${top}px)`;
        element.style.width = `${right - left}px`;
        element.style.height = `${bottom - top}px`;
      }
    }
    return () => cancelAnimationFrame(handle);
  }, [video]);

  return (
    <div className="faces" ref={layer} aria-hidden="true">
      {faces.map((face) => (
        <div key={face.id} className={face.fused ? "face fused" : "face"} data-face={face.id}>
          <span>
            {face.id}
            {face.probabilities ? ` ${ranked(face.probabilities)[0]?.[0] ?? ""}` : ""}
          </span>
        </div>
      ))}
    </div>
  );
}

const reduced = window.matchMedia("(prefers-reduced-motion: reduce)");

/** From shares of the picture to the layer's pixels: the video covers it, mirrored. */
function placing(video: HTMLVideoElement, layer: HTMLElement): ((box: Box) => Box) | undefined {
  const { videoWidth, videoHeight } = video;
  if (!videoWidth || !videoHeight) return undefined;
  const { clientWidth: width, clientHeight: height } = layer;
  const scale = Math.max(width / videoWidth, height / videoHeight);
  const [shown, tall] = [videoWidth * scale, videoHeight * scale];
  const x = (share: number) => (width + shown) / 2 - share * shown;
  const y = (share: number) => (height - tall) / 2 + share * tall;
  return ([left, top, right, bottom]) => [x(right), y(top), x(left), y(bottom)];
}
