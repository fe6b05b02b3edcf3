// Started by tests/server/serving/test_bundle_in_browser.py, which says where the server, the bundle's answers and the
// media are.
import { readFileSync } from "node:fs";
import AxeBuilder from "@axe-core/playwright";
import { type Page, expect, test } from "@playwright/test";

interface Given {
  text?: string;
  sound?: string;
  pictures?: { data: string; count: number; width: number; height: number; per_s: number };
  expected: { label: string; probabilities: Record<string, number>; modalities: string[] };
}

const SAMPLES = process.env["SAMPLES"];
/** How far a probability may lie from the device's. INT8 products round differently in WebAssembly. */
const TOLERANCE = 0.03;

test.skip(!SAMPLES, "started without a bundle");

/** The worker of the built page, spoken to as the page does. */
async function openWorker(page: Page): Promise<void> {
  await page.evaluate((name) => {
    const worker = new Worker(`/assets/${name}`, { type: "module" });
    const heard: unknown[] = [];
    worker.onmessage = ({ data }) => heard.push(data);
    Object.assign(window, { worker, heard });
    worker.postMessage({ kind: "open", key: "", threads: crossOriginIsolated ? 2 : 1 });
  }, process.env["WORKER"]!);
}

async function answered(page: Page, id: number, sample: Omit<Given, "expected">) {
  return await page.evaluate(
    async ([number, given]) => {
      const bytes = (text: string) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
      const message: Record<string, unknown> = { kind: "predict", id: number };
      if (given.text !== undefined) message["text"] = given.text;
      if (given.sound) message["sound"] = new Float32Array(bytes(given.sound).buffer);
      if (given.pictures) message["pictures"] = { ...given.pictures, data: bytes(given.pictures.data) };
      const { worker } = window as unknown as { worker: Worker };
      return await new Promise<Record<string, never>>((resolve) => {
        const listen = ({ data }: MessageEvent) => {
          if (data.id !== number && !(data.kind === "unable" && data.id === undefined)) return;
          worker.removeEventListener("message", listen);
          resolve(data);
        };
        worker.addEventListener("message", listen);
        worker.postMessage(message);
      });
    },
    [id, sample] as const,
  );
}

const answer = (page: Page) => page.locator("section[data-request]");
const here = (page: Page) => page.getByRole("radio", { name: "This browser" });

/** All that leaves the page: requests with a body, and what is sent over sockets. */
function sent(page: Page): { bodies: string[]; sockets: string[]; addresses: string[] } {
  const all = { bodies: [] as string[], sockets: [] as string[], addresses: [] as string[] };
  page.context().on("request", (request) => {
    all.addresses.push(`${request.method()} ${new URL(request.url()).pathname}`);
    const body = request.postDataBuffer();
    if (body?.length) all.bodies.push(`${request.url()}: ${body.toString("utf8")}`);
  });
  page.on("websocket", (socket) => all.sockets.push(socket.url()));
  return all;
}

test("camera and microphone are answered in the page, and nothing of them leaves it", async ({ page }) => {
  test.setTimeout(180_000);
  const left = sent(page);
  await page.goto("/");
  await here(page).check();
  await expect(page.getByText("only the model is fetched")).toBeVisible();
  await page.getByRole("button", { name: "Start" }).click();
  await expect(answer(page)).toContainText("from", { timeout: 60_000 });
  await expect(answer(page)).toContainText("edge");
  // The voice counts where somebody speaks; Chromium takes the constructed one for noise, and leaves little of it.
  await expect(answer(page)).toContainText("face", { timeout: 60_000 });
  await expect(answer(page)).toContainText(/voice, face|no voice was found in the sound/, { timeout: 60_000 });
  await page.getByLabel("What you say").fill("What a lovely day!");
  await page.getByRole("button", { name: "Ask" }).click();
  await expect(answer(page)).toContainText("words", { timeout: 60_000 });
  expect(left.sockets).toEqual([]);
  expect(left.bodies).toEqual([]);
  expect(left.addresses.filter((each) => !each.startsWith("GET "))).toEqual([]);
  // The same record sees what the server's mode sends.
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByRole("radio", { name: "The server" }).check();
  await page.getByLabel("What you say").fill("What a lovely day!");
  await page.getByRole("button", { name: "Ask" }).click();
  await expect(answer(page)).toContainText("cloud");
  await page.getByRole("button", { name: "Start" }).click();
  await expect.poll(() => left.sockets.length).toBe(1);
  expect(left.bodies.length).toBe(1);
});

test("the bundle answers as the device's runtime does", async ({ page }) => {
  test.setTimeout(240_000);
  const samples = JSON.parse(readFileSync(SAMPLES!, "utf8")) as Record<string, Given>;
  await page.goto("/");
  await openWorker(page);
  const told: string[] = [];
  const wrong: string[] = [];
  let place = 0;
  for (const [name, { expected, ...sample }] of Object.entries(samples)) {
    const reply = (await answered(page, place++, sample)) as unknown as {
      why?: string;
      answer?: Given["expected"] & { notes: string[]; latency_ms: number };
    };
    if (!reply.answer) {
      wrong.push(`${name}: ${reply.why}`);
      continue;
    }
    const { answer } = reply;
    const apart = Math.max(
      ...Object.entries(expected.probabilities).map(([label, share]) => Math.abs(share - (answer.probabilities[label] ?? 0))),
    );
    told.push(`${name}: ${answer.label}, ${apart.toFixed(4)} apart, ${answer.latency_ms.toFixed(0)} ms`);
    if (answer.label !== expected.label || apart > TOLERANCE || String(answer.modalities) !== String(expected.modalities))
      wrong.push(`${name}: ${JSON.stringify(answer)} instead of ${JSON.stringify(expected)}`);
  }
  test.info().annotations.push({ type: "apart", description: told.join("; ") });
  if (process.env["TELL"]) console.log(told.join("\n"));
  expect(wrong).toEqual([]);
});

/** Where the page says how the bundle is getting on. */
const engine = (page: Page) => page.locator("[data-engine]");

async function accessible(page: Page): Promise<void> {
  expect((await new AxeBuilder({ page }).analyze()).violations).toEqual([]);
}

async function ask(page: Page, words: string): Promise<void> {
  await page.getByLabel("What you say").fill(words);
  await page.getByRole("button", { name: "Ask" }).click();
}

test("files are kept, those of an older bundle go, and changed ones are fetched again", async ({ page }) => {
  test.setTimeout(120_000);
  await page.goto("/");
  await page.evaluate(async () => {
    await (await caches.open("fedaffect-bundle-edge-0-old")).put("/old", new Response("old"));
    await (await caches.open("somebody-else")).put("/other", new Response("other"));
  });
  await here(page).check();
  await ask(page, "What a lovely day!");
  await expect(answer(page)).toContainText("from words", { timeout: 60_000 });
  const label = await answer(page).getByRole("heading").textContent();
  const names = await page.evaluate(async () => await caches.keys());
  expect(names).toContain("somebody-else");
  expect(names.filter((name) => name.startsWith("fedaffect-bundle-"))).toHaveLength(1);
  expect(names).not.toContain("fedaffect-bundle-edge-0-old");
  await accessible(page);

  const fetched: string[] = [];
  page.context().on("request", (request) => fetched.push(new URL(request.url()).pathname));
  const changed = await page.evaluate(async () => {
    const name = (await caches.keys()).find((each) => each.startsWith("fedaffect-bundle-"))!;
    const cache = await caches.open(name);
    const key = (await cache.keys()).find((each) => each.url.endsWith("fusion.onnx"))!;
    await cache.put(key, new Response("not the fusion"));
    return new URL(key.url).pathname;
  });
  await page.reload();
  await here(page).check();
  await ask(page, "What a lovely day!");
  await expect(answer(page)).toContainText("from words", { timeout: 60_000 });
  await expect(answer(page).getByRole("heading")).toHaveText(label!);
  const files = fetched.filter((each) => each.includes("/files/"));
  expect(files.filter((each) => !each.endsWith("manifest.json"))).toEqual([changed]);
});

test("a file that is not what the manifest says is refused", async ({ page }) => {
  await page.route("**/files/fusion.onnx", (route) => route.fulfill({ body: "not the fusion" }));
  await page.goto("/");
  await here(page).check();
  await ask(page, "What a lovely day!");
  await expect(page.getByText(/is not what the bundle’s manifest says/).first()).toBeVisible({ timeout: 60_000 });
  expect(await page.evaluate(async () => {
    for (const name of await caches.keys())
      for (const key of await (await caches.open(name)).keys()) if (key.url.endsWith("fusion.onnx")) return "kept";
    return "not kept";
  })).toBe("not kept");
});

test("a server without the runtime, or without a bundle, says what to do", async ({ page }) => {
  await page.route("**/runtime/*.wasm", (route) => route.fulfill({ status: 404, body: "{}" }));
  await page.goto("/");
  await here(page).check();
  await ask(page, "Well.");
  await expect(engine(page)).toContainText("make web", { timeout: 30_000 });
  await accessible(page);
  await page.unroute("**/runtime/*.wasm");
  await page.goto(process.env["BARE_URL"]!);
  await here(page).check();
  await ask(page, "Well.");
  await expect(engine(page)).toContainText("fedaffect bundle build", { timeout: 30_000 });
});

test("a browser without SIMD is told so, and the server still answers", async ({ page }) => {
  await page.addInitScript(() => {
    WebAssembly.validate = () => false;
  });
  await page.goto("/");
  await here(page).check();
  await ask(page, "Well.");
  await expect(engine(page)).toContainText("no SIMD");
  await expect(engine(page)).toHaveAttribute("role", "alert");
  await accessible(page);
  await page.getByRole("radio", { name: "The server" }).check();
  await ask(page, "Well.");
  await expect(answer(page)).toContainText("cloud");
});

test("the server and this browser are shown side by side", async ({ page }) => {
  test.setTimeout(120_000);
  await page.goto("/");
  await page.getByRole("radio", { name: "Compare both" }).check();
  await ask(page, "What a lovely day!");
  await expect(page.getByRole("region", { name: "Both, side by side" })).toContainText("% of the probability", {
    timeout: 60_000,
  });
  await accessible(page);
  await page.screenshot({ path: test.info().outputPath("compared.png"), fullPage: true });
});
