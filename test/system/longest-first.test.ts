/** The order of the system tests names files that are there, and changes nothing else. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../e2e/stage.js";
import { LONGEST, longestFirst } from "./longest-first.js";

test("each file that takes long is there", () => {
  expect(LONGEST.filter((name) => !existsSync(join(ROOT, name)))).toEqual([]);
});

test("those files begin, in the order of the list, and the others keep theirs", () => {
  const names = ["test/b.system.ts", LONGEST[1], "test/a.system.ts", LONGEST[0]];
  const files = names.map((name) => ({ moduleId: `/home/${name}` }));
  expect(longestFirst(files).map(({ moduleId }) => moduleId)).toEqual(
    [LONGEST[0], LONGEST[1], "test/b.system.ts", "test/a.system.ts"].map((one) => `/home/${one}`),
  );
});
