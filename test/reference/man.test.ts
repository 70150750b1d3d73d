/**
 * The man pages: what the table of commands and the schema say, and shipped with the package. What
 * mandoc says of them: man.system.ts.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ROOT } from "../e2e/stage.js";
import { commandPage, daemonPage, settingsPage } from "./man.js";

const PAGES = ["docs/man/kxgw.1", "docs/man/kxgw.toml.5", "docs/man/kxgw-serve.8"];

it("are what commands and schema say (vitest -u writes them)", async () => {
  await expect(commandPage()).toMatchFileSnapshot("../../docs/man/kxgw.1");
  await expect(settingsPage()).toMatchFileSnapshot("../../docs/man/kxgw.toml.5");
  await expect(daemonPage()).toMatchFileSnapshot("../../docs/man/kxgw-serve.8");
});

it("npm puts them where man finds them", () => {
  const { man } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  expect(man).toEqual(PAGES.map((page) => `./${page}`));
});
