/**
 * The version of this package, from its package.json, which lies beside dist/ and src/ alike, so
 * that there is one place to change it. "unknown" when somebody took the file apart.
 */
import { readFileSync } from "node:fs";

const manifest: unknown = JSON.parse(
  readFileSync(new URL("../package.json", import.meta.url), "utf8"),
);

export const VERSION: string =
  typeof manifest === "object" && manifest !== null && "version" in manifest
    ? String(manifest.version)
    : "unknown";
