/**
 * `node deploy/stamp.mjs DIST`: makes DIST/main.js executable and writes the commit of this clone to
 * DIST/commit, which `kxgw version` prints. A tree without git, as in an unpacked archive or an
 * image, has no such file; there the environment may name the commit (KXGW_COMMIT).
 */
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const [dist] = process.argv.slice(2);

/** Only of this tree: git would also answer for a repository somewhere above it. */
function commitOfClone() {
  if (!existsSync(join(ROOT, ".git"))) return "";
  const args = ["describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"];
  try {
    return execFileSync("git", args, { cwd: ROOT, encoding: "utf8", stdio: "pipe" }).trim();
  } catch {
    return "";
  }
}

const commit = process.env.KXGW_COMMIT || commitOfClone();
chmodSync(join(dist, "main.js"), 0o755);
if (commit !== "") writeFileSync(join(dist, "commit"), `${commit}\n`);
