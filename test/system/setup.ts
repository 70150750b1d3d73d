/**
 * Before the system tests: everything that they need is on the machine, or the run ends here with a
 * line for each thing that is missing. No test is skipped for it.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";
import { missing, needsOf } from "./needs.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

export function setup({ vitest }: TestProject): void {
  const packages = JSON.parse(readFileSync(join(ROOT, "test/system/programs.json"), "utf8"));
  // What was said behind `npm run test:system --`: parts of file names.
  const { filenamePattern = [] } = vitest as { filenamePattern?: readonly string[] };
  const lines = missing(needsOf(ROOT), packages, filenamePattern);
  if (lines.length === 0) return;
  process.stderr.write(`\n${lines.join("\n")}\nsudo test/system/install.sh installs all of it.\n`);
  process.exit(1);
}
