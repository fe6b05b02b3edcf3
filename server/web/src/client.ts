// What the npm package `fedaffect-client` offers: REST by the server's own description, and live streams.
import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./api/schema.js";

export { LiveStream } from "./live/stream.js";
export type { Answer, Face, Feedback, Nothing, StreamState, Taken } from "./live/stream.js";
export type { components, paths } from "./api/schema.js";
export type Prediction = components["schemas"]["PredictionReply"];

/** Every operation of a server's REST, typed; the key goes as `Authorization: Bearer`. */
export function connect(server: string, key = ""): Client<paths> {
  return createClient<paths>({ baseUrl: server, headers: key ? { Authorization: `Bearer ${key}` } : {} });
}
