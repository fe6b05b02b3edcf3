// Makes src/api/schema.d.ts of the description that the Python application gives of itself.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";
import openapiTS, { astToString } from "openapi-typescript";

const root = new URL("../../../", import.meta.url).pathname;
const own = `${root}.venv/bin/python`;
const python = process.env.PYTHON ?? (existsSync(own) ? own : "python3");
const script = new URL("describe.py", import.meta.url).pathname;
const description = execFileSync(python, [script], { encoding: "utf8", cwd: root, maxBuffer: 2 ** 26 });
const sha256 = createHash("sha256").update(description).digest("hex");
// What has a default may be left out.
const types = astToString(await openapiTS(JSON.parse(description), { defaultNonNullable: false }));
const target = new URL("../src/api/schema.d.ts", import.meta.url);
writeFileSync(target, `// Made by \`npm run api\` of the description with SHA-256 ${sha256}\n${types}`);
