// The types of REST, which are generated, go along as they are.
import { cpSync } from "node:fs";

cpSync(new URL("../../src/api/schema.d.ts", import.meta.url), new URL("dist/api/schema.d.ts", import.meta.url));
