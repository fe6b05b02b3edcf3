import { Suspense, useEffect, useState } from "react";
import { KeyField } from "./KeyField";
import { Adapting } from "./adapting";
import { type Adaptation, Refused } from "./api/client";
import { useApiKey } from "./api/key";
import { useModels } from "./api/models";
import { useTheme } from "./theme";
import { VIEWS, useView } from "./views";

export function App() {
  const key = useApiKey();
  const [adaptation, setAdaptation] = useState<Adaptation>();
  const [adapts, setAdapts] = useState(true);
  const models = useModels();
  const { view } = useView();
  useTheme(adapts ? adaptation?.theme : undefined, key);
  useEffect(() => {
    document.title = `${view.name} – fedaffect`;
  }, [view]);
  return (
    <>
      <header>
        <h1>fedaffect</h1>
        {VIEWS.length > 1 && (
          <nav className="views" aria-label="Views">
            {VIEWS.map((each) => (
              <a key={each.at} href={`#${each.at}`} aria-current={each === view ? "page" : undefined}>
                {each.name}
              </a>
            ))}
          </nav>
        )}
        <label className="check">
          <input type="checkbox" checked={adapts} onChange={(event) => setAdapts(event.target.checked)} />
          Adapt this page
        </label>
      </header>
      <main>
        {!view.operators && <Asking models={models} />}
        <Adapting value={setAdaptation}>
          <Suspense fallback={<p className="quiet min-h-screen">Opening …</p>}>
            <view.Body />
          </Suspense>
        </Adapting>
      </main>
      <footer>
        <h2>What is kept</h2>
        <p>
          Pictures, sound and words go to this server, are answered and forgotten; they are never stored or logged. Where
          this browser answers, they stay in this page, and only the model is kept in the browser. A
          correction that you send is stored until it is deleted: the label, the number of the answer and whether you
          agreed to learning; with your yes, also the numbers that the encoders made of the seconds that were answered.
          An API key stays in this tab until you close it.
          A login for fleet or research is one cookie, which ends with it.
        </p>
        <p>
          A film that you send lies on the server until it is analysed or given up, what the encoders made of it, in
          numbers, for an hour more. A session is kept only if you choose
          so, for as long as is said there, without pictures and sound.
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

/** How the server stands that is asked for predictions. */
function Asking({ models }: { models: ReturnType<typeof useModels> }) {
  const key = useApiKey();
  const refused = models.error instanceof Refused ? models.error : undefined;
  return (
    <>
        <p className="caution">
          An expression is no proof of a feeling: this shows what a model makes of face, voice and words, and it is often
          wrong.
        </p>
        {models.isError && !refused && <p role="alert">The server cannot be reached. This page goes on trying.</p>}
        {refused && refused.status !== 401 && <p role="alert">The server refused: {refused.message}</p>}
        {models.data?.length === 0 && <p role="status">The server is loading its model …</p>}
        {(refused?.status === 401 || key) && <KeyField refused={refused?.status === 401} />}
    </>
  );
}
