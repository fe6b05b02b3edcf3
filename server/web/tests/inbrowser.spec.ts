// Started by tests/server/serving/test_bundle_in_browser.py, which says where the server, the bundle's answers and the
// media are.
import { readFileSync } from "node:fs";
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
  await expect(page.getByText("stay in this page")).toBeVisible();
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
