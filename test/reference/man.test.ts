/**
 * The man pages: what the table of commands and the schema say, in roff that mandoc has no word
 * against and that groff reads, and shipped with the package.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ROOT, run } from "../e2e/stage.js";
import { commandPage, settingsPage } from "./man.js";

const PAGES = ["docs/man/kxgw.1", "docs/man/kxgw.toml.5"];

it("are what commands and schema say (vitest -u writes them)", async () => {
  await expect(commandPage()).toMatchFileSnapshot("../../docs/man/kxgw.1");
  await expect(settingsPage()).toMatchFileSnapshot("../../docs/man/kxgw.toml.5");
});

it("npm puts them where man finds them", () => {
  const { man } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  expect(man).toEqual(PAGES.map((page) => `./${page}`));
});

it.each(PAGES)("mandoc has nothing against %s", async (page) => {
  const args = ["-T", "lint", "-W", "warning", join(ROOT, page)];
  if (!existsSync("/usr/bin/mandoc")) {
    process.stderr.write(`mandoc is not installed: ${page} is not linted\n`);
    return;
  }
  const { code, stdout } = await run("/usr/bin/mandoc", args);
  expect([code, stdout]).toEqual([0, ""]);
});

it.each(PAGES)("%s reads as a page", async (page) => {
  const [formatter, args] = existsSync("/usr/bin/mandoc")
    ? ["/usr/bin/mandoc", ["-T", "ascii", join(ROOT, page)]]
    : ["/usr/bin/groff", ["-ww", "-man", "-T", "ascii", join(ROOT, page)]];
  if (!existsSync(formatter)) {
    process.stderr.write(`neither mandoc nor groff is installed: ${page} is not formatted\n`);
    return;
  }
  const { code, stdout, stderr } = await run(formatter, args);
  expect([code, stderr]).toEqual([0, ""]);
  // Bold is a letter, a backspace, and the letter once more.
  const text = stdout.replaceAll(/.[\b]/g, "");
  expect(text).toContain(page.endsWith("1") ? "kxgw trace <update>" : "relay_password_file");
  expect(text).toMatch(/^SEE ALSO$/m);
});
