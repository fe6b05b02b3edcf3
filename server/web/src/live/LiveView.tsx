import { useCallback } from "react";
import { useAdapting } from "../adapting";
import type { Prediction } from "../api/client";
import { useModels } from "../api/models";
import { Live } from "./Live";

export default function LiveView() {
  const { labels } = useModels();
  const adapt = useAdapting();
  const onAnswer = useCallback((answer: Prediction) => adapt(answer.adaptation ?? undefined), [adapt]);
  return (
    <div className="live">
      <Live labels={labels} onAnswer={onAnswer} />
    </div>
  );
}
