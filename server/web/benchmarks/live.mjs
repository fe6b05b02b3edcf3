// The live page in Chromium, with a camera and a microphone that play files; started by benchmarks/live_page.py.
// Prints a line of JSON for every stretch of some seconds: answers and boxes a second, lag, frames, memory of the page.
import { chromium } from "@playwright/test";

const { PAGE_URL, CHROMIUM, CAMERA_FILE, MICROPHONE_FILE, SECONDS, STRETCH_S } = process.env;
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: [
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    `--use-file-for-fake-video-capture=${CAMERA_FILE}`,
    `--use-file-for-fake-audio-capture=${MICROPHONE_FILE}`,
  ],
});
const page = await browser.newPage({ baseURL: PAGE_URL, permissions: ["camera", "microphone"] });
await page.goto("/");
await page.getByRole("button", { name: "Start" }).click();
await page.locator("section[data-request]").waitFor();
await page.locator("[data-face]").first().waitFor();
await page.evaluate(() => {
  const counted = { answers: 0, boxes: 0, frames: 0 };
  Object.assign(window, { counted });
  new MutationObserver((changes) => {
    for (const each of changes) if (each.attributeName === "data-request") counted.answers++;
  }).observe(document.querySelector("section.answer"), { attributes: true });
  new MutationObserver((changes) => {
    if (changes.some((each) => each.attributeName === "style")) counted.boxes++;
  }).observe(document.querySelector(".faces"), { attributes: true, subtree: true });
  const frame = () => {
    counted.frames++;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
});
const session = await page.context().newCDPSession(page);
const until_ms = performance.now() + 1000 * Number(SECONDS);
// The first answers warm the server up.
await page.waitForTimeout(3000);
while (performance.now() < until_ms) {
  const began_ms = performance.now();
  await page.evaluate(() => Object.assign(window.counted, { answers: 0, boxes: 0, frames: 0 }));
  await page.waitForTimeout(1000 * Number(STRETCH_S));
  const seconds = (performance.now() - began_ms) / 1000;
  const counted = await page.evaluate(() => ({ ...window.counted }));
  const facts = await page.locator("dl.facts").evaluateAll((lists) =>
    Object.fromEntries(
      lists.flatMap((list) => [...list.children].map((each) => [each.children[0].textContent, each.children[1].textContent])),
    ),
  );
  await session.send("HeapProfiler.collectGarbage");
  const heap = await session.send("Runtime.getHeapUsage");
  const told = {
    answers_per_s: counted.answers / seconds,
    boxes_per_s: counted.boxes / seconds,
    frames_per_s: counted.frames / seconds,
    lag_p50_ms: Number.parseInt(facts["Lag, median"] ?? "", 10),
    lag_p95_ms: Number.parseInt(facts["Lag, 95th percentile"] ?? "", 10),
    page_mb: heap.usedSize / 1e6,
  };
  process.stdout.write(`${JSON.stringify(told)}\n`);
}
await browser.close();
