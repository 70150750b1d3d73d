/**
 * Where a batch keeps how far it has come: one file a batch beside the build, whose name holds a
 * hash of the built code, so that no run goes on with worlds of another gateway.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";

/** The directory of the build, which holds src and test. */
const BUILD = resolve(import.meta.dirname, "../..");

/** The file of the batch; `fresh` removes what is in it. */
export function stateFile(batch: object, fresh: boolean): string {
  const directory = join(BUILD, "state");
  mkdirSync(directory, { recursive: true });
  const name = createHash("sha256").update(codeHash()).update(JSON.stringify(batch));
  const file = join(directory, `${name.digest("hex").slice(0, 16)}.json`);
  if (fresh) rmSync(file, { force: true });
  return file;
}

function codeHash(): Buffer {
  const hash = createHash("sha256");
  for (const part of ["src", "test/simulation", "test/torture"]) {
    const files = readdirSync(join(BUILD, part), { recursive: true, encoding: "utf8" });
    for (const file of files.filter((one) => one.endsWith(".js")).sort()) {
      hash.update(file).update(readFileSync(join(BUILD, part, file)));
    }
  }
  return hash.digest();
}
