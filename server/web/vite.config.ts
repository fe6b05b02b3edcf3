import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { type Plugin, defaultClientConditions, defineConfig } from "vite";

const ROOT = import.meta.dirname;
const SOURCES = ["docs.html", "index.html", "package-lock.json", "package.json", "src", "tsconfig.json", "vite.config.ts"];

function files(path: string): string[] {
  if (!statSync(join(ROOT, path)).isDirectory()) return [path];
  return readdirSync(join(ROOT, path)).flatMap((name) => files(`${path}/${name}`));
}

function sha256(data: string | Buffer): string {
  return createHash("sha256").update(data).digest("hex");
}

/** Records what was built, so that a test sees a build that is older than its sources. */
function stamp(): Plugin {
  return {
    name: "stamp",
    generateBundle() {
      const lines = SOURCES.flatMap(files).sort().map((path) => `${sha256(readFileSync(join(ROOT, path)))}  ${path}\n`);
      this.emitFile({ type: "asset", fileName: "sources.sha256", source: `${sha256(lines.join(""))}\n` });
    },
  };
}

const ORT = join(ROOT, "node_modules", "onnxruntime-web");

export default defineConfig({
  plugins: [react(), tailwindcss(), stamp()],
  define: {
    __ORT_VERSION__: JSON.stringify(JSON.parse(readFileSync(join(ORT, "package.json"), "utf8")).version),
    __ORT_SHA256__: JSON.stringify(sha256(readFileSync(join(ORT, "dist", "ort-wasm-simd-threaded.wasm")))),
  },
  // ONNX Runtime without its WebAssembly, which is too large for the repository and fetched when it is needed.
  resolve: { conditions: ["onnxruntime-web-use-extern-wasm", ...defaultClientConditions] },
  worker: { format: "es" },
  build: {
    outDir: "../fedaffect/server/serving/http/page",
    emptyOutDir: true,
    // The content security policy forbids data: addresses; the audio worklet is a file of its own.
    assetsInlineLimit: 0,
    // What the build holds of others, as their licences ask; linked from the page.
    license: { fileName: "licenses.txt" },
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: { index: "index.html", docs: "docs.html", widget: "src/widget/widget.ts" },
      // Other pages load the widget by a name that stays.
      output: { entryFileNames: ({ name }) => (name === "widget" ? "widget.js" : "assets/[name]-[hash].js") },
    },
  },
  server: { proxy: { "/v1": { target: "http://127.0.0.1:8080", ws: true } } },
});
