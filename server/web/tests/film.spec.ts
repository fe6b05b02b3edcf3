// Started by tests/server/serving/test_film_in_browser.py.
import { readFileSync } from "node:fs";
import { type Page, expect, test } from "@playwright/test";
import { accessible, looked } from "./looks";

const FILM = process.env["FILM_FILE"]!;

async function choose(page: Page, file = FILM): Promise<void> {
  await page.locator("input[type=file]").setInputFiles(file);
}

async function analysed(page: Page): Promise<void> {
  await expect(page.getByText("the film is deleted on the server")).toBeVisible({ timeout: 60_000 });
}

test("a film becomes a timeline that is scrubbed by keyboard, downloaded, kept, compared and deleted", async ({ page }) => {
  test.setTimeout(180_000);
  const said: string[] = [];
  page.on("pageerror", (error) => said.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") said.push(message.text());
  });
  await page.goto("/#film");
  await expect(page.getByText("Drop a film here")).toBeVisible();
  await accessible(page);
  await choose(page);
  await analysed(page);
  await accessible(page);
  for (const lane of ["together", "face", "voice"])
    await expect(page.getByRole("img", { name: new RegExp(`^${lane}:`) })).toBeVisible();

  const slider = page.getByRole("slider", { name: "Moment of the film" });
  await slider.focus();
  await page.keyboard.press("End");
  await expect(slider).toHaveAttribute("aria-valuetext", /^0:12 of 0:12/);
  await page.keyboard.press("Home");
  for (let at = 0; at < 30; at++) await page.keyboard.press("ArrowRight");
  await expect(slider).toHaveAttribute("aria-valuetext", /^0:03 of 0:12/);
  await expect.poll(() => page.locator("video").evaluate((video: HTMLVideoElement) => video.currentTime)).toBeCloseTo(3, 0);

  await page.getByRole("button", { name: "Wrong, it was …" }).click();
  await page.getByLabel("From 0:01 to 0:04 it was").selectOption("sadness");
  await page.getByLabel("The server may learn from this window").check();
  await accessible(page);
  await page.getByRole("button", { name: "Send" }).click();
  await expect(page.getByText("Thank you.")).toBeVisible();

  for (const [button, begins] of [
    ["Table (CSV)", "start_s,end_s,lane"],
    ["All of it (JSON)", "{"],
    ["Subtitles (WebVTT)", "WEBVTT"],
  ] as const) {
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: button }).click(),
    ]);
    expect(readFileSync(await download.path(), "utf8").startsWith(begins)).toBe(true);
  }

  for (const name of ["Before lunch", "After lunch"]) {
    await page.getByRole("button", { name: "Keep this session" }).click();
    await page.getByLabel("Name of the session").fill(name);
    await page.getByLabel("Notes").fill(`Notes of ${name}`);
    await accessible(page);
    await page.getByRole("button", { name: "Keep", exact: true }).click();
    await expect(page.getByText("Kept until")).toBeVisible();
  }
  await page.getByRole("link", { name: "Sessions" }).click();
  await expect(page.getByText("for 30 days; then it is deleted")).toBeVisible();
  await looked(page, "sessions");
  await page.getByLabel("Compare Before lunch").check();
  await page.getByLabel("Compare After lunch").check();
  await page.getByRole("button", { name: "Compare two" }).click();
  await expect(page.getByRole("region", { name: "Difference" })).toBeVisible();
  await looked(page, "compare");
  await page.getByRole("link", { name: "All kept sessions" }).click();
  await page.getByRole("link", { name: "Before lunch" }).click();
  await page.getByLabel("Notes").fill("Other notes");
  await page.getByRole("button", { name: "Save notes" }).click();
  await expect(page.getByText("Saved.")).toBeVisible();
  await looked(page, "session");
  await page.getByRole("button", { name: "Delete for good" }).click();
  await accessible(page);
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await expect(page.getByRole("link", { name: "After lunch" })).toBeVisible();
  await expect(page.getByRole("link", { name: "Before lunch" })).toHaveCount(0);
  expect(said).toEqual([]);
});

test("a cut upload goes on from what was confirmed, and a server that forgot the film is sent it again", async ({ page }) => {
  test.setTimeout(120_000);
  const offsets: number[] = [];
  let begun = 0;
  let asked = 0;
  await page.route("**/v1/films", async (route) => {
    begun++;
    await route.continue();
  });
  await page.route("**/v1/films/*", async (route) => {
    if (route.request().method() !== "PATCH") return route.continue();
    offsets.push(Number(route.request().headers()["upload-offset"]));
    // As when the network goes away.
    if (offsets.length === 1) return route.abort("connectionreset");
    return route.continue();
  });
  await page.route("**/timeline?*", async (route) => {
    // As a server that was started again in the middle.
    if (asked++ === 0) {
      const body = JSON.stringify({ error: { type: "NotFound", message: "no such film is here" } });
      return route.fulfill({ status: 404, contentType: "application/json", body });
    }
    return route.continue();
  });
  await page.goto("/#film");
  await choose(page);
  await expect(page.getByText("Trying again; what was confirmed stays")).toBeVisible();
  await analysed(page);
  expect(offsets[0]).toBe(0);
  expect(offsets[1]).toBe(0);
  expect(begun).toBe(2);
});

test("what is no film says what to do", async ({ page }) => {
  await page.goto("/#film");
  await page.locator("input[type=file]").setInputFiles({
    name: "letter.mp4",
    mimeType: "video/mp4",
    buffer: Buffer.from("Dear reader, ".repeat(200)),
  });
  await expect(page.getByRole("alert")).toContainText("no film that the server knows; send MP4");
  await accessible(page);
  await page.getByRole("button", { name: "Another film" }).click();
  await expect(page.getByText("Drop a film here")).toBeVisible();
});

test("a film is recorded with camera and microphone", async ({ page }) => {
  test.setTimeout(120_000);
  await page.goto("/#film");
  await page.getByRole("button", { name: "Record" }).click();
  await expect(page.getByText("Recording")).toBeVisible();
  await expect(page.getByText("0:04")).toBeVisible({ timeout: 30_000 });
  await page.getByRole("button", { name: "Stop and use it" }).click();
  await analysed(page);
});
for (const scheme of ["light", "dark"] as const) {
  test(`${scheme}: a timeline fits at each width`, async ({ page }) => {
    test.setTimeout(120_000);
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
    await page.goto("/#film");
    await choose(page);
    await analysed(page);
    for (const width of [360, 768, 1280]) {
      await page.setViewportSize({ width, height: 800 });
      await accessible(page);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
      await page.screenshot({ path: test.info().outputPath(`film-${scheme}-${width}.png`), fullPage: true });
    }
  });
}
