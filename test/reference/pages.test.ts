/**
 * The pages of docs/ as a whole: no link leads nowhere, the README leads to each of them, and the
 * operator finds a paragraph for every alert that can wake him.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { parseConfig } from "../../src/config/load.js";
import { blocks, page, ROOT } from "../support/page.js";

const PAGES = readdirSync(join(ROOT, "docs")).filter((name) => name.endsWith(".md"));
const FILES = [
  "README.md",
  "CONTRIBUTING.md",
  "SECURITY.md",
  ...PAGES.map((name) => join("docs", name)),
];

/** Where the links of a page lead, within the repository. */
function linksOf(file: string): string[] {
  const text = readFileSync(join(ROOT, file), "utf8");
  const links = [...text.matchAll(/\]\(([^)#]+)[^)]*\)/g)].map(([, link = ""]) => link);
  return links.filter((link) => !/^[a-z]+:/.test(link)).map((link) => join(dirname(file), link));
}

it.each(FILES)("the links of %s lead somewhere", (file) => {
  for (const link of linksOf(file))
    expect([link, existsSync(join(ROOT, link))]).toEqual([link, true]);
});

it("the README leads to every page", () => {
  const pages = PAGES.map((name) => join("docs", name)).sort();
  expect(linksOf("README.md")).toEqual(expect.arrayContaining(pages));
});

it("the README's configuration passes the check", () => {
  const [config = ""] = blocks(readFileSync(join(ROOT, "README.md"), "utf8"), "toml");
  expect(parseConfig(config, "kxgw.toml", "/srv", {}).neighbours).toHaveLength(2);
});

it("files and tests that a page names are there", () => {
  for (const file of FILES) {
    const text = readFileSync(join(ROOT, file), "utf8");
    const named = text.matchAll(/`((?:src|test|deploy|docs)\/[\w./-]+?)`/g);
    for (const [, path = ""] of named) {
      expect([file, path, existsSync(join(ROOT, path))]).toEqual([file, path, true]);
    }
  }
});

it("operations.md has a paragraph for each alert, with its severity", () => {
  const alerts = readFileSync(join(ROOT, "deploy/prometheus/alerts.yml"), "utf8");
  const named = [...alerts.matchAll(/alert: (\w+)[\s\S]*?severity: (\w+)/g)];
  expect(named.length).toBeGreaterThanOrEqual(11);
  const text = page("operations.md");
  const told = [...text.matchAll(/^\*\*(\w+)\*\* \((\w+)\)/gm)].map(([all]) => all);
  expect(told).toEqual(named.map(([, name, severity]) => `**${name}** (${severity})`));
});
