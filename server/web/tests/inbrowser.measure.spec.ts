// What the bundle in the browser costs; started by benchmarks/in_browser.py.
import { readFileSync } from "node:fs";
import { type Page, expect, test } from "@playwright/test";

test.skip(!process.env["MEASURE"], "started by benchmarks/in_browser.py");
test.setTimeout(240_000);

/** Marks what the worker tells the page, and how far apart the page's frames are. */
async function watched(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const told: { kind: string; at: number }[] = [];
    const frames: number[] = [];
    const Plain = window.Worker;
    window.Worker = class extends Plain {
      constructor(...given: ConstructorParameters<typeof Plain>) {
        super(...given);
        this.addEventListener("message", ({ data }) => told.push({ kind: data.kind, at: performance.now() }));
      }
    };
    const frame = (at: number) => {
      frames.push(at);
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    Object.assign(window, { told, frames });
  });
}

interface Marks {
  told: { kind: string; at: number }[];
  frames: number[];
}

const marks = (page: Page) => page.evaluate(() => ({ told: (window as unknown as Marks).told, frames: (window as unknown as Marks).frames }));

test("from a cold cache to the first answer, and then", async ({ page }) => {
  await watched(page);
  const bytes: Record<string, number> = {};
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Network.enable");
  page.on("requestfinished", async (request) => {
    bytes[new URL(request.url()).pathname.split("/").at(-1)!] = (await request.sizes()).responseBodySize;
  });
  for (const sense of ["camera alone", "camera and microphone"]) {
    await page.goto("/");
    await page.evaluate(async () => Promise.all((await caches.keys()).map((name) => caches.delete(name))));
    await devtools.send("Network.clearBrowserCache");
    for (const name of Object.keys(bytes)) delete bytes[name];
    await page.reload();
    await page.getByRole("radio", { name: "This browser" }).check();
    if (sense === "camera alone") await page.getByRole("group", { name: "microphone" }).getByLabel("Use it").uncheck();
    const began = await page.evaluate(() => performance.now());
    await page.getByRole("button", { name: "Start" }).click();
    await expect(page.locator("section[data-request]")).toContainText("face", { timeout: 60_000 });
    const first = (await marks(page)).told.find(({ kind }) => kind === "window")!;
    console.log(`${sense}: first answer after ${Math.round(first.at - began)} ms`);
    await page.waitForTimeout(8_000);
    const { told, frames } = await marks(page);
    const last = told.at(-1)!.at;
    const lately = told.filter(({ at }) => at > last - 5_000);
    const gaps = frames.slice(1).map((at, place) => [frames[place]!, at - frames[place]!] as const);
    const late = gaps.filter(([at]) => at > last - 5_000).map(([, gap]) => gap).sort((a, b) => a - b);
    console.log(`${sense}: ${lately.filter(({ kind }) => kind === "seen").length / 5} boxes, ${lately.filter(({ kind }) => kind === "window").length / 5} answers a second`);
    console.log(`${sense}: ${(late.length / 5).toFixed(0)} frames a second, gap median ${late[Math.floor(late.length / 2)]?.toFixed(1)} ms, p95 ${late[Math.floor(0.95 * late.length)]?.toFixed(1)} ms, longest ${late.at(-1)?.toFixed(0)} ms`);
    console.log(`${sense}: ${JSON.stringify(bytes)}, ${Object.values(bytes).reduce((sum, each) => sum + each, 0)} bytes in all`);
    await page.getByRole("button", { name: "Stop" }).click();
  }
});

test("one answer by threads", async ({ page }) => {
  const samples = JSON.parse(readFileSync(process.env["SAMPLES"]!, "utf8"));
  await page.goto("/");
  for (const threads of [1, 2]) {
    const told = await page.evaluate(
      async ([name, count, all]) => {
        const worker = new Worker(`/assets/${name}`, { type: "module" });
        worker.postMessage({ kind: "open", key: "", threads: count });
        const bytes = (text: string) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
        const lines: string[] = [];
        for (const sample of ["words 0", "face", "voice"]) {
          const given = all[sample];
          const spent: number[] = [];
          for (let id = 0; id < 9; id++) {
            const message = { kind: "predict", id, text: given.text, sound: given.sound && new Float32Array(bytes(given.sound).buffer), pictures: given.pictures && { ...given.pictures, data: bytes(given.pictures.data) } };
            spent.push(
              await new Promise((resolve) => {
                worker.onmessage = ({ data }) => {
                  if (data.kind === "answer" && data.id === id) resolve(data.answer.latency_ms);
                };
                worker.postMessage(message);
              }),
            );
          }
          const warm = spent.slice(1).sort((a, b) => a - b);
          lines.push(`${sample}: first ${Math.round(spent[0]!)} ms, then median ${warm[4]!.toFixed(0)}, fastest ${warm[0]!.toFixed(0)} ms`);
        }
        worker.terminate();
        return lines;
      },
      [process.env["WORKER"]!, threads, samples] as const,
    );
    console.log(`${threads} thread(s): ${told.join("; ")}`);
  }
  console.log(await page.evaluate(async () => `WebGPU: ${(await (navigator as unknown as { gpu?: { requestAdapter(): Promise<unknown> } }).gpu?.requestAdapter()) ? "there" : "no adapter"}; cores ${navigator.hardwareConcurrency}`));
});
