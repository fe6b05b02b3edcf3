// Operators' and viewers' views; started by tests/server/console/test_console_in_browser.py.
import { type Page, expect as plain, test } from "@playwright/test";
import { accessible, looked } from "./looks";

const expect = plain.configure({ timeout: 15_000 });

test.skip(!process.env["CONSOLE_URL"], "no server with accounts");
test.describe.configure({ mode: "serial", timeout: 90_000 });

async function logIn(page: Page, name: string, password = process.env["PASSWORD"]!): Promise<void> {
  await page.getByLabel("Account").fill(name);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Log in" }).click();
}

test("a server without accounts and runs says how to make both", async ({ page }) => {
  await page.goto(`${process.env["FRESH_URL"]!}/#fleet`);
  await expect(page.getByText("Nobody has an account yet")).toBeVisible();
  await expect(page.getByText("No run yet.")).toBeVisible();
  await looked(page, "fresh");
  await page.getByRole("link", { name: "Research" }).click();
  await expect(page.getByText("fedaffect simulate makes it")).toBeVisible();
  await accessible(page);
});

test("whoever is not known logs in, and stays where they wanted to be", async ({ page }) => {
  await page.goto("/#fleet/devices");
  await expect(page.getByRole("heading", { name: "Log in" })).toBeVisible();
  await looked(page, "login");
  await logIn(page, "vera", "not her quiet words");
  await expect(page.getByRole("alert")).toContainText("no such account, or its password is another one");
  await accessible(page);
  await page.getByLabel("Password").fill(process.env["PASSWORD"]!);
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: "Waiting for approval" })).toBeVisible();
  expect(await page.evaluate(() => [document.cookie, sessionStorage.length, localStorage.length])).toEqual(["", 0, 0]);
  await expect(page.getByText("You may look. Operators approve devices.")).toBeVisible();
  await expect(page.getByRole("button", { name: "Approve" })).toHaveCount(0);
  await page.getByRole("tab", { name: "Bundles" }).click();
  await expect(page.getByText("You may look. Operators promote bundles")).toBeVisible();
  await expect(page.getByRole("button", { name: "Roll" })).toHaveCount(0);
  await page.getByRole("button", { name: "Log out" }).click();
  await expect(page.getByRole("heading", { name: "Log in" })).toBeVisible();
});

test("a login that ended says so, and leads back", async ({ page, context }) => {
  await page.goto("/#fleet/audit");
  await logIn(page, "vera");
  await expect(page.getByRole("heading", { name: "Is it what was written?" })).toBeVisible();
  const cookies = await context.cookies();
  const login = cookies.find((cookie) => cookie.name === "fedaffect-console")!;
  expect([login.httpOnly, login.sameSite, login.path]).toEqual([true, "Strict", "/v1/console"]);
  // As if it had run out: the server knows it no more, and the browser still has it.
  const other = `${login.value.slice(0, -4)}0000`;
  await context.addCookies([{ ...login, value: other === login.value ? `${login.value.slice(0, -4)}1111` : other }]);
  await page.reload();
  await expect(page.getByText("Your login ran out or was ended")).toBeVisible();
  await accessible(page);
  await logIn(page, "vera");
  await expect(page.getByRole("heading", { name: "Is it what was written?" })).toBeVisible();
});

test("rounds come as they are committed", async ({ page }) => {
  await page.goto("/#fleet");
  await logIn(page, "vera");
  await expect(page.getByText("Live: what changes")).toBeVisible();
  await looked(page, "runs");
  await page.getByRole("link", { name: "learn-2" }).click();
  const shown = page.getByRole("region", { name: "Run learn-2" });
  const rounds = async () => Number(/rounds(\d+) of 100/.exec((await shown.textContent())!)?.[1]);
  const before = await rounds();
  await expect.poll(rounds, { timeout: 20_000 }).toBeGreaterThan(before);
  await page.goto("/#fleet/runs/learn-1");
  await expect(page.getByText("On the development split as a table")).toBeVisible();
  await page.getByText("Devices as a table").click();
  await expect(page.getByRole("region", { name: "Devices, table" })).toContainText("answered");
  await page.getByText(/^Round 4: committed/).click();
  await page.getByRole("button", { name: "Who took part" }).first().click();
  const who = page.getByRole("table", { name: "Devices of round 4" });
  await expect(who).toContainText("it is on its battery");
  await expect(who).toContainText("tablet");
  await looked(page, "run");
});

test("a server that goes away is said, and asked again until it answers", async ({ page, context }) => {
  await page.goto("/#fleet");
  await logIn(page, "vera");
  await expect(page.getByText("Live: what changes")).toBeVisible();
  await context.setOffline(true);
  await page.goto("/#fleet/runs/learn-2").catch(() => undefined);
  await context.setOffline(false);
  await page.goto("/#fleet/runs/learn-2");
  await expect(page.getByText("Live: what changes")).toBeVisible();
});

test("an operator approves, refuses, promotes and rolls back", async ({ page }) => {
  const said: string[] = [];
  page.on("pageerror", (error) => said.push(String(error)));
  page.on("console", (message) => message.type() === "error" && said.push(message.text()));
  await page.goto("/#fleet/devices");
  await logIn(page, "ada");
  await expect(page.getByRole("button", { name: "Approve ward-phone" })).toBeVisible();
  await looked(page, "devices");
  await page.getByRole("button", { name: "Approve ward-phone" }).click();
  await expect(page.getByText("approved: ward-phone.")).toBeVisible();
  await page.getByRole("button", { name: "Refuse stranger" }).click();
  await accessible(page);
  await page.getByRole("button", { name: "Refuse it" }).click();
  await expect(page.getByText("stranger is kept out.")).toBeVisible();
  await expect(page.getByText("No device waits.")).toBeVisible();

  await page.getByRole("tab", { name: "Bundles" }).click();
  await looked(page, "bundles");
  await page.getByLabel("Share of devices, % for edge-2026-11-28").fill("25");
  await page.getByRole("button", { name: "Roll out edge-2026-11-28" }).click();
  await expect(page.getByText("goes to 25 % of devices")).toBeVisible();
  await page.getByRole("button", { name: "Promote further edge-2026-11-28" }).click();
  await expect(page.getByText("goes to 100 % of devices")).toBeVisible();
  // Another one while it is staged is no harm at 100 %, and rolling back asks first.
  await page.getByRole("button", { name: "Roll edge-2026-11-28 back" }).click();
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Roll edge-2026-11-28 back" }).click();
  await page.getByRole("button", { name: "Roll it back" }).click();
  await expect(page.getByText("edge-2026-11-28 is rolled back.")).toBeVisible();
  await expect(page.getByText("Rolled back: ada rolled it back")).toBeVisible();

  await page.getByRole("tab", { name: "Audit log" }).click();
  await page.getByLabel("What begins with", { exact: true }).fill("rollout");
  await expect(page.getByRole("table")).toContainText("user:ada");
  await page.getByRole("button", { name: "Check the chain" }).click();
  await expect(page.getByText(/^Unchanged: \d+ entries/)).toBeVisible();
  await looked(page, "audit");
  expect(said).toEqual([]);
});

test("runs of simulations grow while one looks, and are compared", async ({ page }) => {
  await page.goto("/#research");
  await logIn(page, "vera");
  await expect(page.getByRole("link", { name: "growing" })).toBeVisible();
  await looked(page, "research");
  await page.getByRole("link", { name: "growing" }).click();
  await page.getByText("Training loss as a table").click();
  const rows = page.getByRole("region", { name: "Training loss, table" }).getByRole("row");
  const before = await rows.count();
  await expect.poll(() => rows.count(), { timeout: 15_000 }).toBeGreaterThan(before);
  await looked(page, "growing");
  await page.getByRole("link", { name: "All runs" }).click();
  await page.getByLabel("Compare meld-natural").check();
  await page.getByLabel("Compare meld-iid").check();
  await page.getByRole("button", { name: "Compare" }).click();
  await expect(page.getByText("meld-iid is worse than meld-natural")).toBeVisible({ timeout: 20_000 });
  await looked(page, "compared");
});

test("by keyboard alone", async ({ page }) => {
  await page.goto("/#fleet");
  await page.getByLabel("Account").focus();
  await page.keyboard.type("vera");
  await page.keyboard.press("Tab");
  await page.keyboard.type(process.env["PASSWORD"]!);
  await page.keyboard.press("Enter");
  await page.getByRole("tab", { name: "Runs" }).focus();
  await page.keyboard.press("ArrowRight");
  await expect(page.getByRole("heading", { name: "Waiting for approval" })).toBeVisible();
});
