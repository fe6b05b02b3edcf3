// The API's own description, to read: nothing but what /openapi.json says.
import { useQuery } from "@tanstack/react-query";
import { KeyField } from "./KeyField";
import { Refused } from "./api/client";
import { apiKey, useApiKey } from "./api/key";
import { mount } from "./mount";

interface Content {
  schema?: object;
  example?: object;
}
interface Operation {
  summary?: string;
  description?: string;
  security?: object[];
  parameters?: { name: string; in: string; required?: boolean; description?: string }[];
  requestBody?: { content: Record<string, Content> };
  responses: Record<string, { description: string; content?: Record<string, Content> }>;
}
interface Description {
  info: { title: string; description: string };
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object> };
}

async function description(): Promise<Description> {
  const key = apiKey();
  const reply = await fetch("/openapi.json", key ? { headers: { Authorization: `Bearer ${key}` } } : {});
  const said = (await reply.json()) as Description & { error?: { message: string } };
  if (!reply.ok) throw new Refused(reply.status, said.error?.message ?? `status ${reply.status}`);
  return said;
}

function Docs() {
  const key = useApiKey();
  const api = useQuery({ queryKey: ["api", key], queryFn: description });
  const refused = api.error instanceof Refused ? api.error : undefined;
  return (
    <>
      <header>
        <h1>fedaffect’s API</h1>
        <a href="/">The live page</a>
      </header>
      <main className="docs">
        {(refused?.status === 401 || key) && <KeyField refused={refused?.status === 401} />}
        {api.isError && refused?.status !== 401 && <p role="alert">Not to be had: {api.error.message}</p>}
        {api.data?.info.description.split("\n\n").map((text) => (
          <p key={text}>
            <Said text={text} />
          </p>
        ))}
        {Object.entries(api.data?.paths ?? {}).flatMap(([path, operations]) =>
          Object.entries(operations).map(([method, operation]) => (
            <Call key={method + path} method={method.toUpperCase()} path={path} operation={operation} />
          )),
        )}
        {api.data && <h2>Schemas</h2>}
        {Object.entries(api.data?.components.schemas ?? {}).map(([name, schema]) => (
          <Folded key={name} title={name} value={schema} />
        ))}
      </main>
    </>
  );
}

function Call({ method, path, operation }: { method: string; path: string; operation: Operation }) {
  return (
    <section className="card" aria-label={`${method} ${path}`}>
      <h2>
        <code>
          {method} {path}
        </code>
      </h2>
      <p>
        <Said text={operation.description ?? operation.summary ?? ""} /> {operation.security ? "" : "Without a key."}
      </p>
      {operation.parameters?.map((each) => (
        <p key={each.name} className="quiet">
          <code>{each.name}</code> ({each.in}
          {each.required ? ", needed" : ""}) {each.description}
        </p>
      ))}
      {Object.entries(operation.requestBody?.content ?? {}).map(([type, { schema, example }]) => (
        <div key={type}>
          {example && <Folded title={`Example, ${type}`} value={example} />}
          {schema && <Folded title={`Body, ${type}`} value={schema} />}
        </div>
      ))}
      {Object.entries(operation.responses["200"]?.content ?? {}).map(([type, { schema, example }]) => (
        <Folded key={type} title={`Reply, ${type}`} value={example ?? schema ?? {}} />
      ))}
      <details>
        <summary>Refusals</summary>
        {Object.entries(operation.responses)
          .filter(([status]) => status !== "200")
          .map(([status, { description }]) => (
            <p key={status} className="quiet">
              <code>{status}</code> {description}
            </p>
          ))}
      </details>
    </section>
  );
}

/** Text with code between backticks. */
function Said({ text }: { text: string }) {
  return text.split("`").map((part, place) => (place % 2 ? <code key={place}>{part}</code> : part));
}

function Folded({ title, value }: { title: string; value: object }) {
  return (
    <details>
      <summary>{title}</summary>
      {/* It scrolls, so the keyboard must reach it. */}
      <pre tabIndex={0} aria-label={title} role="region">
        {JSON.stringify(value, null, 2)}
      </pre>
    </details>
  );
}

mount(<Docs />);
