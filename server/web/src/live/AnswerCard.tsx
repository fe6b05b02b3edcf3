import { useState } from "react";
import type { Prediction } from "../api/client";
import { Bars, percent } from "./Bars";
import { Correction, type Tell } from "./Correction";
import { SENSES, isSure } from "./emotions";

interface Props {
  answer: Prediction | undefined;
  labels: string[];
  /** Says over the stream what an answer should have been, so that its features can be kept; undefined without one. */
  tell?: Tell;
  hold?: (request_id: string) => void;
}

/** The newest answer, and a correction of the one that was being looked at. */
export function AnswerCard({ answer, labels, tell, hold }: Props) {
  const [corrected, setCorrected] = useState<Prediction>();
  const shown = corrected ?? answer;
  const sure = shown !== undefined && isSure(shown);
  const title = !shown ? "No answer yet" : sure ? shown.label : "Not sure";
  return (
    <section className="card answer" aria-labelledby="answer-title" data-request={shown?.request_id}>
      <div className="row">
        <h2 id="answer-title">{title}</h2>
        {shown && <span className="badge">{shown.source}</span>}
      </div>
      <p className="quiet">
        {shown
          ? `${sure ? "" : `perhaps ${shown.label}, `}confidence ${percent(shown.confidence)}, from ${shown.modalities.map((m) => SENSES[m] ?? m).join(", ")}`
          : "Start camera or microphone, or write a sentence."}
      </p>
      <Bars probabilities={shown?.probabilities} name="Most likely emotions" />
      <p className="quiet notes">{shown?.notes.join(". ") || "\u00a0"}</p>
      <Correction
        answer={answer}
        held={corrected}
        labels={labels}
        tell={tell}
        onHold={() => {
          setCorrected(answer);
          if (answer) hold?.(answer.request_id);
        }}
        onDone={() => setCorrected(undefined)}
      />
    </section>
  );
}
