// A server that is killed under an open page and comes back; started by tests/server/console/test_restart_in_browser.py.
import { type Page, expect as plain, test } from "@playwright/test";

const expect = plain.configure({ timeout: 60_000 });
const answer = (page: Page) => page.locator("section[data-request]");

test.describe.configure({ mode: "serial", timeout: 240_000 });

/** Kill the server as the kernel does, or start it again at its address; done when that is done. */
async function have(what: "kill" | "start"): Promise<void> {
  const reply = await fetch(`${process.env["CONTROL_URL"]!}/${what}`);
  plain(reply.status).toBe(200);
}

test.afterEach(async () => have("start"));

test("a live stream goes on, and what was kept and confirmed is there", async ({ page }) => {
  await page.goto("/");
  await page.getByRole("button", { name: "Start" }).click();
  await expect(answer(page)).toContainText("face");
  await page.getByRole("button", { name: "Wrong, it was …" }).click();
  await page.getByLabel("It was", { exact: true }).selectOption("sadness");
  await page.getByLabel("The server may learn from this answer").check();
  await page.getByRole("button", { name: "Send" }).click();
  await expect(page.getByText("Thank you.")).toBeVisible();
  await page.getByRole("button", { name: "Right" }).click();
  await have("kill");
  await expect(page.getByText(/Not connected: .* Trying again in \d+ s; meanwhile nothing is answered/)).toBeVisible();
  // What is not confirmed is not called kept, and can be sent again.
  await page.getByRole("button", { name: "Send" }).click();
  await expect(page.getByRole("alert").filter({ hasText: "Not sent:" })).toBeVisible();
  const before = await answer(page).getAttribute("data-request");
  await have("start");
  await expect(page.getByText("Answering", { exact: true })).toBeVisible();
  await page.getByRole("button", { name: "Send" }).click();
  await expect(page.getByText("Thank you.")).toBeVisible();
  await expect(answer(page)).not.toHaveAttribute("data-request", before ?? "");
  // By the page's own clock: a session that was cut is one session.
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByRole("button", { name: "Keep this session" }).click();
  const sent = page.waitForRequest((request) => request.method() === "POST" && request.url().endsWith("/v1/sessions"));
  await page.getByRole("button", { name: "Keep", exact: true }).click();
  const { timeline } = (await sent).postDataJSON() as { timeline: { windows: { end_s: number }[] } };
  const ends = timeline.windows.map((each) => each.end_s);
  plain(ends).toEqual([...ends].sort((a, b) => a - b));
  await expect(page.getByText(/Kept until/)).toBeVisible();
});

test("the fleet's view says that it is old, and goes on by itself", async ({ page }) => {
  await page.goto("/#fleet/devices");
  await page.getByLabel("Account").fill("ada");
  await page.getByLabel("Password").fill(process.env["PASSWORD"]!);
  await page.getByRole("button", { name: "Log in" }).click();
  await expect(page.getByText("Live: what changes is shown as it happens")).toBeVisible();
  await page.getByRole("button", { name: "Approve ward-phone" }).click();
  await expect(page.getByText("approved: ward-phone.")).toBeVisible();
  await have("kill");
  await expect(page.getByText("The server or its registry does not answer. What you see may be older")).toBeVisible();
  await have("start");
  // The login holds, and what was done is done.
  await expect(page.getByText("Live: what changes is shown as it happens")).toBeVisible();
  await expect(page.getByRole("button", { name: "Approve stranger" })).toBeVisible();
  await expect(page.getByRole("button", { name: "Approve ward-phone" })).toHaveCount(0);
  await page.getByRole("tab", { name: "Runs" }).click();
  await page.getByRole("link", { name: "learn-2" }).click();
  const shown = page.getByRole("region", { name: "Run learn-2" });
  const rounds = async () => Number(/rounds(\d+) of 100/.exec((await shown.textContent())!)?.[1]);
  await expect.poll(rounds).toBeGreaterThan(0);
  await have("kill");
  await expect(page.getByText("The server or its registry does not answer. What you see may be older")).toBeVisible();
  const before = await rounds();
  await have("start");
  // Rounds that were committed meanwhile come too.
  await expect.poll(rounds).toBeGreaterThan(before);
});

test("a film's upload goes on from what was confirmed", async ({ page }) => {
  let begun = 0;
  const offsets: number[] = [];
  await page.route("**/v1/films", async (route) => {
    begun++;
    await route.continue();
  });
  await page.route("**/v1/films/*", async (route) => {
    if (route.request().method() !== "PATCH") return route.continue();
    offsets.push(Number(route.request().headers()["upload-offset"]));
    if (offsets.length === 2) await have("kill");
    return route.continue();
  });
  await page.goto("/#film");
  await page.locator("input[type=file]").setInputFiles(process.env["FILM_FILE"]!);
  await expect(page.getByText("Trying again; what was confirmed stays")).toBeVisible();
  await have("start");
  await expect(page.getByText("the film is deleted on the server")).toBeVisible({ timeout: 120_000 });
  // Two pieces of 2 MiB: the first was confirmed, and nobody sent it twice.
  plain(begun).toBe(1);
  plain(offsets[0]).toBe(0);
  plain(offsets.slice(1).every((each) => each === 2 ** 21)).toBe(true);
});
