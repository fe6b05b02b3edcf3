// Started by tests/server/serving/test_page_in_browser.py, which says where the servers, Chromium and the media are.
import { defineConfig } from "@playwright/test";

export default defineConfig({
  testDir: "tests",
  workers: 1,
  timeout: 30_000,
  reporter: "line",
  outputDir: process.env["OUT"] ?? "screenshots",
  use: {
    baseURL: process.env["PAGE_URL"]!,
    permissions: ["camera", "microphone"],
    launchOptions: {
      executablePath: process.env["CHROMIUM"]!,
      args: [
        "--no-sandbox",
        "--use-fake-device-for-media-stream",
        `--use-file-for-fake-video-capture=${process.env["CAMERA_FILE"]}`,
        `--use-file-for-fake-audio-capture=${process.env["MICROPHONE_FILE"]}`,
      ],
    },
  },
});
