/**
 * Keys as a person posts them with curl, in every form that it has for a file.
 * Needs: curl.
 */
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { scratch } from "../support/scratch.js";
import { hkpDoor, KEY } from "./hkp-door.js";

const run = promisify(execFile);

describe("curl", () => {
  test.each([
    ["-F", `keytext=<KEYFILE`],
    ["-F", `keytext=@KEYFILE`],
    ["--data-urlencode", `keytext@KEYFILE`],
    ["--data-urlencode", `keytext@KEYFILE`, "--http1.0"],
    ["--data-urlencode", `keytext@KEYFILE`, "-H", "Expect: 100-continue"],
    ["--data-urlencode", `keytext@KEYFILE`, "-H", "Transfer-Encoding: chunked"],
  ])("%s %s %s %s", async (...args) => {
    const { port, entries } = await hkpDoor("open = true");
    const file = join(scratch(), "key.asc");
    writeFileSync(file, KEY);
    const given = args.filter(Boolean).map((word) => word.replace("KEYFILE", file));
    const url = `http://127.0.0.1:${port}/pks/add`;
    const { stdout } = await run("curl", ["-sS", "-w", " %{http_code}", ...given, url]);
    expect(stdout).toMatch(/"inserted":\[\{"version":4,.* 200$/s);
    expect(entries()).toHaveLength(1);
  });
});
