/**
 * Where only the directory of the log can be written, as in the shipped container, a log expires,
 * forgets a key and is checked and copied as anywhere else.
 * Needs: root, strace.
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { UpdateLog } from "../../src/log/update-log.js";
import { arrival, fingerprint, HOUR_MS, update } from "../log/material.js";
import { runWithOnly } from "./only-data.js";
import { base, configFile, PROGRAM, ROOT } from "./stage.js";

const T0 = 1_700_000_000_000;
const BUILT = JSON.stringify(pathToFileURL(join(ROOT, "dist/log/update-log.js")));

/** A config whose log holds `count` updates of that size, all of one time. */
function aged(count: number, bytes: number) {
  const file = configFile(base("pgp-public-keys@kx.example.org"));
  const directory = join(file, "..");
  const path = join(directory, "updates.db");
  const log = UpdateLog.open(path);
  for (let n = 1; n <= count; n += 1) {
    log.append([arrival(n, { update: update(n, bytes), receivedAt: T0 })]);
  }
  log.close();
  return { file, directory, path };
}

describe("with only the directory of the log writable", () => {
  it("60 aged updates expire, and one is forgotten", async () => {
    const { file, directory, path } = aged(60, 5000);
    const script = `
      import { UpdateLog } from ${BUILT};
      const log = UpdateLog.open(process.argv[1]);
      const limits = { retainMs: ${96 * HOUR_MS}, rememberMs: ${720 * HOUR_MS} };
      const first = log.retention.expire(${T0 + 97 * HOUR_MS}, limits, 100);
      log.close();
      process.stdout.write(JSON.stringify(first));`;
    const node = [process.execPath, "--input-type=module", "--eval", script, path];
    const expired = await runWithOnly(directory, node);
    expect(expired.stderr).toBe("");
    expect(JSON.parse(expired.stdout)).toMatchObject({ bodies: 59, entries: 0 });

    const kxgw = [process.execPath, PROGRAM];
    const order = ["forget", fingerprint(60), "--reason", "asked", "-c", file];
    const forgotten = await runWithOnly(directory, [...kxgw, ...order]);
    expect(forgotten).toMatchObject({ code: 0, stderr: "" });
    expect(forgotten.stdout).toMatch(/^1 update of the key forgotten/);
    const checked = await runWithOnly(directory, [...kxgw, "db", "check", "-c", file]);
    expect(checked.stdout).toMatch(/: ok\n.*newest +60\n.*entries +60\n.*bodies +0 /s);
    const copy = join(directory, "copy.db");
    const copied = await runWithOnly(directory, [...kxgw, "db", "backup", copy, "-c", file]);
    expect(copied).toMatchObject({ code: 0, stderr: "" });
  });

  it("a log of more than 64 MiB is rebuilt through a file beside it", async () => {
    const { file, directory, path } = aged(70, 1024 ** 2);
    const order = ["forget", fingerprint(7), "--reason", "asked", "-c", file];
    const { code, stdout, stderr } = await runWithOnly(directory, [
      ...[process.execPath, PROGRAM],
      ...order,
    ]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^1 update of the key forgotten/);
    const log = UpdateLog.open(path);
    expect(log.counts()).toMatchObject({ entries: 70, bodies: 69 });
    log.close();
  });
});
