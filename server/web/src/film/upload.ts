// A film sent piece by piece; after a cut it goes on from what the server confirmed.
import { Refused, client, given } from "../api/client";
import type { components } from "../api/schema";

export type FilmState = components["schemas"]["FilmReply"];

const PIECE_BYTES = 2 ** 21;
const RETRY_MS = [500, 1_000, 2_000, 4_000, 8_000];

/** What the page hears on the way. */
export interface Hearer {
  onProgress: (film: FilmState) => void;
  /** The connection is cut or the server is busy; it is tried again. */
  onWaiting: (why: string) => void;
  /** The server forgot the film, as after a long while; it is sent from its beginning. */
  onForgotten: () => void;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    });
  });
}

/** Whether trying again may help. */
export function mayPass(error: unknown): boolean {
  return error instanceof Refused ? [408, 429, 503].includes(error.status) : error instanceof TypeError;
}

/** Send all of a film. */
export async function upload(
  file: Blob,
  settings: { window_s?: number; hop_s?: number },
  hearer: Hearer,
  signal: AbortSignal,
): Promise<FilmState> {
  let film: FilmState | undefined;
  let failures = 0;
  for (;;) {
    try {
      film = film
        ? given(await client.GET("/v1/films/{film_id}", { params: { path: { film_id: film.id } }, signal }))
        : given(await client.POST("/v1/films", { body: { size_bytes: file.size, ...settings }, signal }));
      hearer.onProgress(film);
      while (film.state === "uploading") {
        film = await append(film, file, signal);
        failures = 0;
        hearer.onProgress(film);
      }
      return film;
    } catch (error) {
      if (signal.aborted) throw error;
      if (error instanceof Refused && error.status === 404 && film) {
        film = undefined;
        hearer.onForgotten();
        continue;
      }
      const conflict = error instanceof Refused && error.status === 409;
      if (!conflict && !mayPass(error)) throw error;
      if (conflict && failures > RETRY_MS.length) throw error;
      const wait_ms = RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]!;
      hearer.onWaiting(error instanceof Refused ? error.message : "the server cannot be reached");
      await pause(wait_ms, signal);
    }
  }
}

async function append(film: FilmState, file: Blob, signal: AbortSignal): Promise<FilmState> {
  const from = film.received_bytes;
  return given(
    await client.PATCH("/v1/films/{film_id}", {
      params: { path: { film_id: film.id }, header: { "Upload-Offset": from } },
      headers: { "Content-Type": "application/octet-stream" },
      body: file.slice(from, from + PIECE_BYTES) as unknown as string,
      bodySerializer: (body) => body as unknown as Blob,
      signal,
    }),
  );
}
