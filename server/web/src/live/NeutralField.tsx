import { MEASURED_S } from "./neutral";
import type { Neutral } from "./useNeutral";

interface Props {
  neutral: Neutral;
  disabled: boolean;
  onMeasure: () => void;
  onForget: () => void;
}

/** Three seconds of a neutral look, and what they are used for. */
export function NeutralField({ neutral, disabled, onMeasure, onForget }: Props) {
  const measured = neutral.kind === "measured";
  return (
    <div className="my-3 grid gap-1">
      <div className="row start">
        <button type="button" disabled={disabled || neutral.kind === "measuring"} onClick={onMeasure}>
          {neutral.kind === "measuring" ? "Look neutral …" : measured ? "Measure again" : "Measure my neutral look"}
        </button>
        {measured && (
          <button type="button" onClick={onForget}>
            Forget it
          </button>
        )}
      </div>
      <p className="quiet m-0" role="status">
        {told(neutral)}
      </p>
    </div>
  );
}

function told(neutral: Neutral): string {
  switch (neutral.kind) {
    case "none":
      return neutral.why ?? `Takes ${MEASURED_S} seconds. What your neutral look gets is then taken off later answers, on this page only.`;
    case "measuring":
      return `Keep still and look neutral for ${MEASURED_S} seconds.`;
    case "measured":
      return `Answers are adjusted by ${neutral.from} answers to your neutral look, no label by more than a factor of four. The server and corrections keep the answers as they were.`;
  }
}
