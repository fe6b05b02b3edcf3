import { useState } from "react";
import { setApiKey, useApiKey } from "./api/key";

/** Takes a key where the server asks for one, and lets go of it. */
export function KeyField({ refused }: { refused: boolean }) {
  const key = useApiKey();
  const [typed, setTyped] = useState("");
  if (!refused) {
    return (
      <p className="row start">
        This tab has an API key.
        <button type="button" onClick={() => setApiKey("")}>
          Forget it
        </button>
      </p>
    );
  }
  return (
    <form
      className="card words"
      onSubmit={(event) => {
        event.preventDefault();
        setApiKey(typed.trim());
        setTyped("");
      }}
    >
      <label htmlFor="key">{key ? "This API key is not known here. Give another" : "This server asks for an API key"}</label>
      <input
        id="key"
        type="password"
        autoComplete="off"
        value={typed}
        onChange={(event) => setTyped(event.target.value)}
      />
      <button type="submit">Use it</button>
    </form>
  );
}
