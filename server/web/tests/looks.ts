// What every view must look like, whatever it shows.
import AxeBuilder from "@axe-core/playwright";
import { type Page, expect, test } from "@playwright/test";

export async function accessible(page: Page): Promise<void> {
  expect((await new AxeBuilder({ page }).analyze()).violations).toEqual([]);
}

/** At three widths and in both themes: nothing is cut off, nothing is unreadable. Pictures for people where asked for. */
export async function looked(page: Page, name: string): Promise<void> {
  for (const scheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
    for (const width of [1280, 768, 360]) {
      await page.setViewportSize({ width, height: 800 });
      await expect
        .poll(() => page.evaluate(() => document.documentElement.scrollWidth), { timeout: 15_000 })
        .toBeLessThanOrEqual(width);
      if (process.env["FEDAFFECT_SCREENSHOTS"])
        await page.screenshot({ path: test.info().outputPath(`${name}-${scheme}-${width}.png`), fullPage: true });
    }
    await accessible(page);
  }
  await page.setViewportSize({ width: 1280, height: 800 });
}
