// REST, by the types that the server's own description gives.
import createClient from "openapi-fetch";
import { apiKey } from "./key";
import type { components, paths } from "./schema";

/** An answer, of the server or of the bundle in this browser. */
export type Prediction = Omit<components["schemas"]["PredictionReply"], "source"> & { source: "cloud" | "edge" };
export type Adaptation = components["schemas"]["AdaptationReply"];
export type Policy = components["schemas"]["PolicyReply"];
export type Model = components["schemas"]["ModelReply"];

export const client = createClient<paths>({ baseUrl: location.origin });

client.use({
  onRequest({ request }) {
    const key = apiKey();
    if (key) request.headers.set("Authorization", `Bearer ${key}`);
    return request;
  },
});

/** A refusal, with the server's own words. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

interface Reply<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** What a call gave; throws `Refused` where it was refused. */
export function given<T>({ data, error, response }: Reply<T>): T {
  if (data !== undefined) return data;
  const said = (error as { error?: { message?: string } } | undefined)?.error?.message;
  throw new Refused(response.status, said ?? `the server answered with status ${response.status}`);
}
