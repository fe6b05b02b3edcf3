import type { EngineState } from "./engine";

export type Where = "server" | "browser" | "both";

const CHOICES: readonly [Where, string][] = [
  ["server", "The server"],
  ["browser", "This browser"],
  ["both", "Compare both"],
];

interface Props {
  where: Where;
  state: EngineState;
  disabled: boolean;
  onChange: (where: Where) => void;
}

/** Who answers, what leaves the page by that, and how the bundle in the browser is getting on. */
export function WhereField({ where, state, disabled, onChange }: Props) {
  return (
    <div className="my-3 grid gap-1">
      <fieldset disabled={disabled} className="flex flex-wrap gap-x-4">
        <legend className="normal-case">Where it is answered</legend>
        {CHOICES.map(([value, name]) => (
          <label key={value} className="check">
            <input type="radio" name="where" className="accent-accent" checked={where === value} onChange={() => onChange(value)} />
            {name}
          </label>
        ))}
      </fieldset>
      <p className="quiet m-0">
        {where === "browser"
          ? "Pictures, sound and words stay in this page; only the model is fetched."
          : where === "both"
            ? "Pictures, sound and words go to the server too, so that both can be compared."
            : "Pictures, sound and words go to the server."}
      </p>
      {where !== "server" && (
        <p className="quiet m-0" role={state.kind === "unable" ? "alert" : "status"} data-engine={state.kind}>
          {told(state)}
        </p>
      )}
    </div>
  );
}

function told(state: EngineState): string {
  switch (state.kind) {
    case "off":
      return "The model is fetched with the first start, and kept in this browser.";
    case "loading":
      return `Fetching and opening the model: ${(state.loaded / 1e6).toFixed(1)} MB so far`;
    case "ready":
      return `Computed by ${state.how}. Model ${state.version}.`;
    case "unable":
      return state.why;
  }
}
