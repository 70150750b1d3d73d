/**
 * The man pages as man shows them: mandoc has nothing against them, and they read as pages.
 * Needs: mandoc.
 */
import { join } from "node:path";
import { expect, it } from "vitest";
import { ROOT, run } from "../e2e/stage.js";

/** Each page, and what it has to say. */
const PAGES = [
  ["docs/man/kxgw.1", "kxgw trace <update>"],
  ["docs/man/kxgw.toml.5", "relay_password_file"],
  ["docs/man/kxgw-serve.8", "systemctl reload"],
] as const;

it.each(PAGES)("mandoc has nothing against %s", async (page: string) => {
  const args = ["-T", "lint", "-W", "warning", join(ROOT, page)];
  const { code, stdout } = await run("mandoc", args);
  expect([code, stdout]).toEqual([0, ""]);
});

it.each(PAGES)("%s reads as a page", async (page: string, words) => {
  const { code, stdout, stderr } = await run("mandoc", ["-T", "ascii", join(ROOT, page)]);
  expect([code, stderr]).toEqual([0, ""]);
  // Bold is a letter, a backspace, and the letter once more.
  const text = stdout.replaceAll(/.[\b]/g, "");
  expect(text).toContain(words);
  expect(text).toMatch(/^SEE ALSO$/m);
});
