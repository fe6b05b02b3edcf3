import { type Page, expect, test } from "@playwright/test";
import { accessible } from "./looks";

const answer = (page: Page) => page.locator("section[data-request]");

/** Errors of scripts and breaches of the content security policy. */
function complaints(page: Page): string[] {
  const said: string[] = [];
  page.on("pageerror", (error) => said.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") said.push(message.text());
  });
  return said;
}

/** As the browser says it when another tab is chosen. */
async function hide(page: Page, hidden: boolean): Promise<void> {
  await page.evaluate((value) => {
    Object.defineProperty(document, "hidden", { configurable: true, value });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
}

/** To be looked at by people. */
async function screenshots(page: Page, name: string): Promise<void> {
  for (const [scheme, width] of [["light", 1280], ["dark", 1280], ["light", 768], ["dark", 360]] as const) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.setViewportSize({ width, height: 800 });
    await page.screenshot({ path: test.info().outputPath(`${name}-${scheme}-${width}.png`), fullPage: true });
  }
}

test("camera and microphone are answered live, and a correction is taken", async ({ page }) => {
  test.slow();
  const said = complaints(page);
  await page.goto("/");
  await page.getByRole("button", { name: "Start" }).click();
  await expect(answer(page)).toContainText("from voice, face", { timeout: 15_000 });
  await expect(page.getByText("On: camera and microphone")).toBeVisible();
  await expect(page.locator("dl").first()).toContainText(/Lag, 95th percentile\d+ ms/);
  // One face, whose box moves with it; on a busy machine it may have got another id meanwhile.
  const box = page.locator("[data-face]");
  await expect(box).toHaveText(/^\d+ /);
  const place = await box.getAttribute("style");
  await expect(box).not.toHaveAttribute("style", place ?? "");
  await expect(page.getByRole("row", { name: /^face/ })).toContainText(/\w+, \d+ %\s*\d+ %/);
  await expect(page.getByRole("img", { name: /^Valence -?\d\.\d, arousal/ })).toBeVisible();
  await expect(page.getByText("Derived: the mean of fixed places")).toBeVisible();
  const first = await answer(page).getAttribute("data-request");
  await expect(answer(page)).not.toHaveAttribute("data-request", first ?? "");
  await page.getByLabel("What you say").fill("I am happy");
  await page.keyboard.press("Enter");
  await expect(answer(page)).toContainText("from words, voice, face");
  await page.getByRole("button", { name: "Wrong, it was …" }).click();
  const judged = await answer(page).getAttribute("data-request");
  await page.getByLabel("It was", { exact: true }).selectOption("sadness");
  await page.getByLabel("The server may learn from this answer").check();
  await accessible(page);
  await page.getByRole("button", { name: "Send" }).click();
  await expect(page.getByText("Thank you.")).toContainText("with the numbers of voice, words, face");
  test.info().annotations.push({ type: "judged", description: judged ?? "" });
  await screenshots(page, "live");
  await page.getByRole("button", { name: "Stop" }).click();
  await expect(page.getByText("Camera and microphone are off")).toBeVisible();
  await expect(box).toHaveCount(0);
  await page.getByRole("button", { name: "Keep this session" }).click();
  await page.getByLabel("Name of the session").fill("Mine");
  await page.getByRole("button", { name: "Keep", exact: true }).click();
  await expect(page.getByText(/Kept until/)).toBeVisible();
  expect(said).toEqual([]);
});

/** How many things with a field the page's memory holds, once what nobody holds was collected. */
async function held(page: Page, field: string): Promise<number> {
  const devtools = await page.context().newCDPSession(page);
  const { result: all } = await devtools.send("Runtime.evaluate", { expression: "Object.prototype" });
  const { objects } = await devtools.send("Runtime.queryObjects", { prototypeObjectId: all.objectId! });
  const counted = await devtools.send("Runtime.callFunctionOn", {
    objectId: objects.objectId!,
    functionDeclaration: "function (field) { return this.filter((each) => Object.hasOwn(each, field)).length; }",
    arguments: [{ value: field }],
    returnByValue: true,
  });
  await devtools.detach();
  return counted.result.value as number;
}

test("of a session that may be kept the page holds what it would send, and no whole answers", async ({ page }) => {
  test.setTimeout(120_000);
  await page.goto("/");
  await page.getByRole("button", { name: "Start" }).click();
  await expect.poll(() => held(page, "start_s"), { timeout: 90_000 }).toBeGreaterThan(14);
  // The one on the page and what draws it; one was held for every kept second before.
  expect(await held(page, "window_end_s")).toBeLessThan(10);
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByRole("button", { name: "Keep this session" }).click();
  const sent = page.waitForRequest((request) => request.method() === "POST" && request.url().endsWith("/v1/sessions"));
  await page.getByRole("button", { name: "Keep", exact: true }).click();
  const { timeline } = (await sent).postDataJSON() as { timeline: { windows: Record<string, unknown>[] } };
  expect(timeline.windows.length).toBeGreaterThan(14);
  for (const window of timeline.windows)
    expect(Object.keys(window).sort()).toEqual(["end_s", "lanes", "source", "start_s"]);
  await expect(page.getByText(/Kept until/)).toBeVisible();
});

test("a neutral look is measured, and a tab in the background pauses", async ({ page }) => {
  await page.goto("/");
  await page.getByRole("button", { name: "Start" }).click();
  await expect(answer(page)).toContainText("face", { timeout: 15_000 });
  await page.getByRole("button", { name: "Measure my neutral look" }).click();
  await expect(page.getByText("look neutral for 3 seconds")).toBeVisible();
  await expect(page.getByText(/adjusted by \d+ answers/)).toBeVisible({ timeout: 10_000 });
  // That look is neutral from now on, whatever the model makes of it.
  await expect(answer(page).locator(".bar-name").first()).toHaveText("neutral");
  await accessible(page);
  await page.getByRole("button", { name: "Forget it" }).click();
  await hide(page, true);
  await expect(page.getByText("Paused: this tab is in the background")).toBeVisible();
  await page.waitForTimeout(500);
  const before = await answer(page).getAttribute("data-request");
  await page.waitForTimeout(500);
  expect(await answer(page).getAttribute("data-request")).toBe(before);
  await hide(page, false);
  await expect(answer(page)).not.toHaveAttribute("data-request", before ?? "");
});

test("the widget answers in a page of another host, and only where the server lets it", async ({ page }) => {
  const server = test.info().project.use.baseURL!;
  await page.goto(process.env["APP_URL"]!);
  await expect(page.getByText(`pictures and sound go to ${server}`)).toBeVisible();
  await page.getByRole("button", { name: "Start" }).click();
  await expect(page.getByRole("status")).toContainText(/From (voice, )?face; \d+ ms/, { timeout: 15_000 });
  await expect(page.getByRole("listitem")).toHaveCount(3);
  await page.getByRole("button", { name: "Stop" }).click();
  await expect(page.getByRole("status")).toContainText("Camera and microphone are off");
  await accessible(page);
  await page.screenshot({ path: test.info().outputPath("widget.png") });
  await page.goto(process.env["STRANGER_URL"]!);
  await page.waitForLoadState("networkidle");
  expect(await page.evaluate(() => customElements.get("fedaffect-live"))).toBeUndefined();
});

test("words alone are answered, by keyboard alone", async ({ page }) => {
  await page.goto("/");
  await page.getByLabel("What you say").focus();
  await page.keyboard.type("I could not be happier");
  await page.keyboard.press("Enter");
  await expect(answer(page)).toContainText("from words");
});

test("a server that goes away is asked again until it answers", async ({ page }) => {
  let connections = 0;
  await page.routeWebSocket("**/v1/stream", (socket) => {
    // Away a second time at once, so that it is away for long enough to be seen on a busy machine.
    if (++connections === 2) return void socket.close({ code: 1012 });
    const server = socket.connectToServer();
    if (connections === 1) {
      server.onMessage((message) => {
        socket.send(message);
        void socket.close({ code: 1012 });
      });
    }
  });
  await page.goto("/");
  await page.getByRole("button", { name: "Start" }).click();
  await expect(page.getByText("Not connected")).toBeVisible({ timeout: 10_000 });
  const before = await answer(page).getAttribute("data-request");
  await expect(answer(page)).not.toHaveAttribute("data-request", before ?? "", { timeout: 10_000 });
  expect(connections).toBe(3);
  // As when it is unplugged.
  await page.evaluate(() => {
    const media = document.querySelector("video")?.srcObject as MediaStream;
    media.getTracks()[0]?.dispatchEvent(new Event("ended"));
  });
  await expect(page.getByRole("alert")).toContainText("The camera went away");
});

test("a camera that was denied says what to do", async ({ page, context }) => {
  await context.clearPermissions();
  await context.grantPermissions([]);
  await page.goto("/");
  await page.getByRole("button", { name: "Start" }).click();
  await expect(page.getByRole("alert").first()).toContainText("Allow it beside the address");
  await accessible(page);
});

test("a machine without camera and microphone says so, and takes words", async ({ page }) => {
  await page.addInitScript(() => {
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("", "NotFoundError"));
  });
  await page.goto("/");
  await page.getByRole("button", { name: "Start" }).click();
  await expect(page.getByRole("alert")).toContainText(["No camera was found", "No microphone was found"]);
  await page.getByLabel("What you say").fill("well");
  await page.getByRole("button", { name: "Ask" }).click();
  await expect(answer(page)).toContainText("from words");
});

test("a server with keys asks for one, and forgets it with the tab", async ({ page }) => {
  await page.goto(process.env["KEYED_URL"]!);
  await page.getByLabel("This server asks for an API key").fill(process.env["KEY"]!);
  await accessible(page);
  await page.keyboard.press("Enter");
  await page.getByLabel("What you say").fill("well");
  await page.getByRole("button", { name: "Ask" }).click();
  await expect(answer(page)).toContainText("from words");
  expect(await page.evaluate(() => [sessionStorage.length, localStorage.length])).toEqual([1, 0]);
});

for (const [scheme, widths] of [
  ["light", [360, 768, 1280]],
  ["dark", [1280, 768, 360]],
] as const) {
  test(`${scheme}: all of it fits at each width, and nothing jumps`, async ({ page }) => {
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
    await page.setViewportSize({ width: widths[0], height: 800 });
    await page.goto("/");
    await page.evaluate(() => {
      const shifts: number[] = [];
      Object.assign(window, { shifts });
      new PerformanceObserver((list) => {
        for (const each of list.getEntries() as (PerformanceEntry & { value: number; hadRecentInput: boolean })[])
          if (!each.hadRecentInput) shifts.push(each.value);
      }).observe({ type: "layout-shift", buffered: true });
    });
    await page.getByLabel("What you say").fill("What a lovely day!");
    await page.getByRole("button", { name: "Ask" }).click();
    await expect(answer(page)).toContainText("from words");
    const shifts = await page.evaluate(() => (window as unknown as { shifts: number[] }).shifts);
    expect(shifts.reduce((sum, each) => sum + each, 0)).toBeLessThan(0.02);
    for (const width of widths) {
      await page.setViewportSize({ width, height: 800 });
      await accessible(page);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
      await page.screenshot({ path: test.info().outputPath(`${scheme}-${width}.png`), fullPage: true });
    }
  });
}

test("the API can be read", async ({ page }) => {
  const said = complaints(page);
  await page.goto("/docs");
  const predict = page.getByRole("region", { name: "POST /v1/predict", exact: true });
  await predict.getByText("Example, application/json").click();
  await expect(predict).toContainText("I could not be happier");
  await accessible(page);
  expect(said).toEqual([]);
});
