/**
 * The version of this package, from its package.json, which lies beside dist/ and src/ alike, so
 * that there is one place to change it; "unknown" when somebody took the file apart. And the commit
 * that it was built from, which `npm run build` writes to dist/commit.
 */
import { readFileSync } from "node:fs";

const manifest: unknown = JSON.parse(
  readFileSync(new URL("../package.json", import.meta.url), "utf8"),
);

export const VERSION: string =
  typeof manifest === "object" && manifest !== null && "version" in manifest
    ? String(manifest.version)
    : "unknown";

/**
 * The first twelve hex digits of the commit, "-dirty" behind them when files differed from it;
 * undefined for a build without git.
 */
export function buildCommit(): string | undefined {
  try {
    return readFileSync(new URL("commit", import.meta.url), "utf8").trim() || undefined;
  } catch {
    return undefined;
  }
}
