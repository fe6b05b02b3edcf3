import { useQuery } from "@tanstack/react-query";
import { useCallback, useState } from "react";
import { KeyField } from "./KeyField";
import { type Adaptation, type Prediction, Refused, client, given } from "./api/client";
import { useApiKey } from "./api/key";
import { Live } from "./live/Live";
import { useTheme } from "./theme";

export function App() {
  const key = useApiKey();
  const [adaptation, setAdaptation] = useState<Adaptation>();
  const [adapts, setAdapts] = useState(true);
  const models = useQuery({
    queryKey: ["models", key],
    queryFn: async () => given(await client.GET("/v1/models")).models,
    // A server that starts, or starts again, is asked until it answers.
    // One that refuses is not: only another key changes that.
    refetchInterval: ({ state: { data, error } }) =>
      error instanceof Refused && error.status < 500 ? false : !error && data?.length ? 30_000 : 2_000,
  });
  useTheme(adapts ? adaptation?.theme : undefined, key);
  const onAnswer = useCallback((answer: Prediction) => setAdaptation(answer.adaptation ?? undefined), []);
  const refused = models.error instanceof Refused ? models.error : undefined;
  const labels = [...new Set((models.data ?? []).flatMap((model) => model.labels))];
  return (
    <>
      <header>
        <h1>fedaffect</h1>
        <label className="check">
          <input type="checkbox" checked={adapts} onChange={(event) => setAdapts(event.target.checked)} />
          Adapt this page
        </label>
      </header>
      <main>
        <p className="caution">
          An expression is no proof of a feeling: this shows what a model makes of face, voice and words, and it is often
          wrong.
        </p>
        {models.isError && !refused && <p role="alert">The server cannot be reached. This page goes on trying.</p>}
        {refused && refused.status !== 401 && <p role="alert">The server refused: {refused.message}</p>}
        {models.data?.length === 0 && <p role="status">The server is loading its model …</p>}
        {(refused?.status === 401 || key) && <KeyField refused={refused?.status === 401} />}
        <div className="live">
          <Live labels={labels} onAnswer={onAnswer} />
        </div>
      </main>
      <footer>
        <h2>What is kept</h2>
        <p>
          Pictures, sound and words go to this server, are answered and forgotten; they are never stored or logged. A
          correction that you send is stored until it is deleted: the label, the number of the answer and whether you
          agreed to learning. An API key stays in this tab until you close it.
        </p>
        <p>
          <a href="/docs">The API behind this page</a>, <a href="/licenses.txt">licences of what it is made of</a>
        </p>
        <h2>Where it must not be used</h2>
        <p>
          The European Union forbids systems that infer emotions at work and in schools (Regulation 2024/1689, Article
          5(1)(f)), except for medical or safety reasons. Ask people before you point a camera at them.
        </p>
      </footer>
    </>
  );
}
