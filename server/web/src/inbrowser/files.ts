// Files of the bundle and of the runtime: fetched once, checked by their hash, kept in Cache Storage.
import { type FileEntry, Unable } from "./manifest";

/** Caches of this page's bundles; one for each version, of which only the newest stays. */
const BUNDLE = "fedaffect-bundle-";
const RUNTIME = "fedaffect-runtime-";
const LATEST = "/v1/bundles/latest/files/manifest.json";

export type OnBytes = (file: string, loaded: number, total: number) => void;

export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The newest manifest with its bundle's version; the one that was kept where the server is away. */
export async function newestManifest(key: string): Promise<{ version: string; bytes: Uint8Array<ArrayBuffer> }> {
  let reply: Response;
  try {
    reply = await fetch(LATEST, { headers: keyed(key), cache: "no-cache" });
  } catch {
    const kept = await keptManifest();
    if (kept) return kept;
    throw new Unable("The server cannot be reached, and no bundle is kept in this browser. Try again when it is back.");
  }
  if (!reply.ok) throw await refusal(reply);
  const version = reply.headers.get("x-bundle-version") ?? "";
  const bytes = new Uint8Array(await reply.arrayBuffer());
  if (!version || !version.endsWith((await sha256(bytes)).slice(0, 12)))
    throw new Unable("The bundle’s manifest was changed on its way. Load the page again; if it stays so, tell the operator.");
  await dropOthers(BUNDLE, version);
  await (await caches.open(BUNDLE + version)).put(LATEST, new Response(bytes, { headers: { "X-Bundle-Version": version } }));
  return { version, bytes };
}

async function keptManifest(): Promise<{ version: string; bytes: Uint8Array<ArrayBuffer> } | undefined> {
  for (const name of await caches.keys()) {
    if (!name.startsWith(BUNDLE)) continue;
    const reply = await (await caches.open(name)).match(LATEST);
    if (reply) return { version: name.slice(BUNDLE.length), bytes: new Uint8Array(await reply.arrayBuffer()) };
  }
  return undefined;
}

async function dropOthers(prefix: string, version: string): Promise<void> {
  for (const name of await caches.keys())
    if (name.startsWith(prefix) && name !== prefix + version) await caches.delete(name);
}

/** One bundle's files. */
export class BundleFiles {
  constructor(
    private readonly version: string,
    private readonly key: string,
    private readonly onBytes: OnBytes,
  ) {}

  async get({ file, size_bytes, sha256: wanted }: FileEntry): Promise<Uint8Array<ArrayBuffer>> {
    const address = `/v1/bundles/${encodeURIComponent(this.version)}/files/${encodeURIComponent(file)}`;
    return await checked(BUNDLE + this.version, address, wanted, {
      headers: keyed(this.key),
      missing: `The server’s bundle lacks ${file}. Load the page again; if it stays so, tell the operator.`,
      onBytes: (loaded) => this.onBytes(file, loaded, size_bytes),
    });
  }
}

/** ONNX Runtime's WebAssembly, which `make web` puts beside the page. */
export async function runtimeBytes(version: string, wanted: string, onBytes: OnBytes): Promise<Uint8Array<ArrayBuffer>> {
  await dropOthers(RUNTIME, version);
  return await checked(RUNTIME + version, `/runtime/ort-${version}.wasm`, wanted, {
    headers: {},
    missing: "This server lacks the runtime for browsers. Its operator gets it with npm and: make web",
    onBytes: (loaded) => onBytes("runtime", loaded, loaded),
  });
}

interface How {
  headers: Record<string, string>;
  missing: string;
  onBytes: (loaded: number) => void;
}

async function checked(cache: string, address: string, wanted: string, how: How): Promise<Uint8Array<ArrayBuffer>> {
  const kept = await caches.open(cache);
  const known = await kept.match(address);
  if (known) {
    const bytes = new Uint8Array(await known.arrayBuffer());
    if ((await sha256(bytes)) === wanted) {
      how.onBytes(bytes.length);
      return bytes;
    }
    await kept.delete(address);
  }
  let reply: Response;
  try {
    reply = await fetch(address, { headers: how.headers });
  } catch {
    throw new Unable("The server cannot be reached. Start again when it is back.");
  }
  if (reply.status === 404) throw new Unable(how.missing);
  if (!reply.ok) throw await refusal(reply);
  const bytes = await read(reply, how.onBytes);
  if ((await sha256(bytes)) !== wanted)
    throw new Unable("A file is not what the bundle’s manifest says. Load the page again; if it stays so, tell the operator.");
  // A browser that gives no room answers all the same, and fetches again the next time.
  await kept.put(address, new Response(bytes)).catch(() => {});
  return bytes;
}

async function read(reply: Response, onBytes: (loaded: number) => void): Promise<Uint8Array<ArrayBuffer>> {
  const reader = reply.body?.getReader();
  const pieces: Uint8Array[] = [];
  let loaded = 0;
  for (let piece = await reader?.read(); piece && !piece.done; piece = await reader?.read()) {
    pieces.push(piece.value);
    loaded += piece.value.length;
    onBytes(loaded);
  }
  const bytes = new Uint8Array(loaded);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

async function refusal(reply: Response): Promise<Unable> {
  const said = (await reply.json().catch(() => undefined)) as { error?: { message?: string } } | undefined;
  return new Unable(`No bundle from the server: ${said?.error?.message ?? `status ${reply.status}`}`);
}

function keyed(key: string): Record<string, string> {
  return key ? { Authorization: `Bearer ${key}` } : {};
}
