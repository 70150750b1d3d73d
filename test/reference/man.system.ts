/**
 * The man pages as man shows them: mandoc has nothing against them, and they read as pages.
 * Needs: mandoc.
 */
import { join } from "node:path";
import { expect, it } from "vitest";
import { ROOT, run } from "../e2e/stage.js";

const PAGES = ["docs/man/kxgw.1", "docs/man/kxgw.toml.5"];

it.each(PAGES)("mandoc has nothing against %s", async (page) => {
  const args = ["-T", "lint", "-W", "warning", join(ROOT, page)];
  const { code, stdout } = await run("mandoc", args);
  expect([code, stdout]).toEqual([0, ""]);
});

it.each(PAGES)("%s reads as a page", async (page) => {
  const { code, stdout, stderr } = await run("mandoc", ["-T", "ascii", join(ROOT, page)]);
  expect([code, stderr]).toEqual([0, ""]);
  // Bold is a letter, a backspace, and the letter once more.
  const text = stdout.replaceAll(/.[\b]/g, "");
  expect(text).toContain(page.endsWith("1") ? "kxgw trace <update>" : "relay_password_file");
  expect(text).toMatch(/^SEE ALSO$/m);
});
