// Puts ONNX Runtime's WebAssembly beside the built page, compressed, under a name with its version; git does not hold it.
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const place = (path) => fileURLToPath(new URL(path, import.meta.url));
const { version } = JSON.parse(readFileSync(place("../node_modules/onnxruntime-web/package.json"), "utf8"));
const wasm = readFileSync(place("../node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm"));
const folder = place("../../fedaffect/server/serving/http/page/runtime");
const part = `${folder}.part`;
rmSync(part, { recursive: true, force: true });
mkdirSync(part, { recursive: true });
writeFileSync(`${part}/ort-${version}.wasm.gz`, gzipSync(wasm, { level: 9 }));
rmSync(folder, { recursive: true, force: true });
renameSync(part, folder);
