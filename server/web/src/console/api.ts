// What the operators' side asks: with the cookie of who is logged in, and a header that no other page can send.
import createClient from "openapi-fetch";
import type { components, paths } from "../api/schema";

type Schemas = components["schemas"];
export type Me = Schemas["MeReply"];
export type Fleet = Schemas["FleetReply"];
export type Device = Schemas["DeviceReply"];
export type Bundle = Schemas["BundleReply"];
export type Rollout = Schemas["RolloutReply"];
export type FleetRun = Schemas["FleetRunReply"];
export type Round = Schemas["RoundReply"];
export type Run = Schemas["RunReply"];
export type Entry = Schemas["EntryReply"];
export type RecordedRun = Schemas["RecordedRunReply"];
export type RecordedRound = Schemas["RecordedRoundReply"];
export type RecordedRunDetail = Schemas["RecordedRunDetailReply"];

export const consoleClient = createClient<paths>({ baseUrl: location.origin });
consoleClient.use({
  onRequest({ request }) {
    request.headers.set("X-Fedaffect-Console", "1");
    return request;
  },
});

/** An address of the console, for what is no call: a stream. */
export const EVENTS = "/v1/console";
