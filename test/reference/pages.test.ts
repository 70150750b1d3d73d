/**
 * The pages of docs/ as a whole: every link and anchor leads somewhere, the README leads to each
 * page, every command parses by the table of commands, every piece of configuration passes the
 * check, and there is a paragraph for every alert.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Command } from "commander";
import { expect, it } from "vitest";
import { programOf } from "../../src/cli/program.js";
import { parseConfig } from "../../src/config/load.js";
import { makeCertificate } from "../support/certificates.js";
import { blocks, page, ROOT } from "../support/page.js";
import { scratch } from "../support/scratch.js";

const PAGES = readdirSync(join(ROOT, "docs")).filter((name) => name.endsWith(".md"));
const FILES = [
  "README.md",
  "CONTRIBUTING.md",
  "SECURITY.md",
  ...PAGES.map((name) => join("docs", name)),
];

function textOf(file: string): string {
  return readFileSync(join(ROOT, file), "utf8");
}

interface Link {
  /** From the top of the repository. */
  readonly path: string;
  /** Empty for the page as a whole. */
  readonly anchor: string;
}

/** Where the links of a page lead, within the repository. */
function linksOf(file: string): Link[] {
  const links = [...proseOf(textOf(file)).matchAll(/\]\(([^)#\s]*)(?:#([^)\s]*))?\)/g)];
  return links
    .filter(([, to = ""]) => !/^[a-z]+:/.test(to))
    .map(([, to = "", anchor = ""]) => {
      return { path: to === "" ? file : join(dirname(file), to), anchor };
    });
}

/** A page without its blocks. */
function proseOf(text: string): string {
  return text.replaceAll(/^```[\s\S]*?^```$/gm, "");
}

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(file: string): string[] {
  const seen = new Map<string, number>();
  return [...proseOf(textOf(file)).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) => {
    const words = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const anchor = words.replaceAll(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-");
    const before = seen.get(anchor) ?? 0;
    seen.set(anchor, before + 1);
    return before === 0 ? anchor : `${anchor}-${before}`;
  });
}

it.each(FILES)("the links of %s lead somewhere", (file) => {
  const lost = linksOf(file).filter(({ path, anchor }) => {
    if (!existsSync(join(ROOT, path))) return true;
    return anchor !== "" && !anchorsOf(path).includes(anchor);
  });
  expect(lost).toEqual([]);
});

it("finds a link and an anchor that lead nowhere", () => {
  expect(FILES.flatMap(linksOf).length).toBeGreaterThan(200);
  expect(anchorsOf("docs/operations.md")).toContain("backup-and-restore");
  expect(anchorsOf("docs/operations.md")).not.toContain("nowhere");
});

it("README and docs/README.md lead to every page", () => {
  const pages = PAGES.map((name) => join("docs", name)).sort();
  for (const from of ["README.md", "docs/README.md"]) {
    const paths = [from, ...linksOf(from).map(({ path }) => path)];
    expect(paths, from).toEqual(expect.arrayContaining(pages.filter((one) => one !== from)));
  }
});

/** What a page writes for a command: `kxgw` and its words, up to a pipe, a comment or an end. */
interface Named {
  readonly line: string;
  readonly words: readonly string[];
  /** In a block, where it is to be typed; else only its name may be meant. */
  readonly whole: boolean;
}

const KXGW =
  /(?:^|[\s|&;(]|\/usr\/bin\/)kxgw (?=--(?:help|version)|(?!kxgw)[a-z]+(?![\w.]))([^|&;>#"()\n]*)/g;

function commandsOf(text: string): Named[] {
  const found = (part: string, whole: boolean) => {
    const joined = part.replaceAll(/\\\n\s*/g, " ").replaceAll(/(?<= )"[^"|\n]*"/g, "TEXT");
    const lines = joined.split("\n");
    return lines.flatMap((line) =>
      [...line.matchAll(KXGW)].map(([, words = ""]) => ({ line, words: wordsOf(words), whole })),
    );
  };
  const shells = [...text.matchAll(/^```(?:sh|console|postfix-\w+)?\n([\s\S]*?)^```$/gm)];
  const quoted = [...proseOf(text).matchAll(/`(kxgw [^`]*)`/g)];
  return [
    ...shells.flatMap(([, block = ""]) => found(block, true)),
    ...quoted.flatMap(([, span = ""]) => found(span.replaceAll("\n", " "), false)),
  ];
}

/** Words of a shell; "[--until X]" is an option that may be left out. */
function wordsOf(text: string): string[] {
  const plain = text.replaceAll(/\[(--?[a-z][^\]]*)\]/g, "$1").trim();
  return plain === "" ? [] : plain.split(/\s+/);
}

/** Why the table of commands does not take these words; undefined if it does. */
function faultOf({ words, whole }: Named): string | undefined {
  let command: Command = programOf({ stdout: () => {}, stderr: () => {} });
  let rest = [...words];
  while (command.commands.length > 0) {
    const next = command.commands.find((one) => one.name() === rest[0]);
    if (next === undefined) break;
    command = next;
    rest = rest.slice(1);
  }
  let parsed: { readonly operands: readonly string[]; readonly unknown: readonly string[] };
  try {
    command.configureOutput({ writeErr: () => {} });
    parsed = command.parseOptions(rest);
  } catch (error) {
    // In a sentence an option may be named without its value.
    return whole ? String(error) : undefined;
  }
  const { operands, unknown } = parsed;
  const options = unknown.filter((word) => !["--help", "-h", "--version"].includes(word));
  if (options.length > 0) return `${command.name()} has no ${options[0]}`;
  if (command.commands.length > 0) {
    const isName = operands.length === 0 && (!whole || unknown.length > 0);
    return isName || operands[0] === "help" ? undefined : `no command ${operands[0]}`;
  }
  const known = command.registeredArguments;
  const most = known.at(-1)?.variadic === true ? Number.POSITIVE_INFINITY : known.length;
  const least = whole ? known.filter(({ required }) => required).length : 0;
  if (operands.length > most) return `${command.name()} takes no ${operands.at(-1)}`;
  return operands.length < least ? `${command.name()} needs an argument` : undefined;
}

it.each(FILES)("the commands of %s are those of the program", (file) => {
  const faults = commandsOf(textOf(file)).flatMap((named) => {
    const fault = faultOf(named);
    return fault === undefined ? [] : [`${named.line}: ${fault}`];
  });
  expect(faults).toEqual([]);
});

it("finds a command that is not there, an option, an argument too many or too few", () => {
  const text = `\`kxgw fly\` \`kxgw peers fly\` \`kxgw status --fly\` \`kxgw status a\`
\`\`\`sh
kxgw trace
\`\`\`
`;
  expect(commandsOf(text).map(faultOf)).toEqual([
    ...["trace needs an argument", "no command fly", "no command fly"],
    ...["status has no --fly", "status takes no a"],
  ]);
  const all = FILES.flatMap((file) => commandsOf(textOf(file)));
  expect(all.length).toBeGreaterThan(140);
});

/** A directory with the files that the pieces name. */
function placeOfPieces(): string {
  const directory = scratch();
  for (const name of ["kx", "ca"]) makeCertificate(directory, name);
  writeFileSync(join(directory, "keys.txt"), `${"0123456789".repeat(4)}\n`);
  return directory;
}

/** Pages with pieces of configuration. */
const WITH_PIECES = FILES.filter((file) => blocks(textOf(file), "toml").length > 0);

it.each(WITH_PIECES)("the pieces of configuration in %s pass the check", (file) => {
  const directory = placeOfPieces();
  const needed = { site: 'address = "a@kx.example.org"', log: "", smtp: "", kx: "", outbound: "" };
  for (const piece of blocks(textOf(file), "toml")) {
    const missing = Object.entries(needed)
      .filter(([name]) => !new RegExp(`^\\[${name}\\]`, "m").test(piece))
      .map(([name, line]) => `[${name}]\n${line}\n`);
    const [top = "", ...sections] = piece.split(/^(?=\[)/m);
    const text = [top, ...missing, ...sections].join("");
    expect(() => parseConfig(text, "kxgw.toml", directory, {}), piece).not.toThrow();
  }
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

/** Pages for who runs a gateway. */
const OPERATORS = [
  ...["install", "migration", "tls", "network", "troubleshooting", "monitoring", "privacy"],
  ...["operations", "paths", "receiving", "repair", "removal", "mail-servers"],
];
/** What everybody knows who runs a server, and names that explain themselves. */
const COMMON = [
  ...["TLS", "TCP", "UDP", "DNS", "HTTP", "JSON", "SMTP", "URL", "IP", "CPU", "NAT", "CI", "UTC"],
  ...["SQL", "RFC", "TOML", "PEM", "SHA", "CA", "ID", "OK", "GDPR", "SSH", "ASCII", "CIDR"],
  ...["SIGHUP", "SIGTERM", "POST", "GET", "HELO", "LHLO", "RSET", "CORS", "SPF", "DKIM", "DMARC"],
  ...["PTR", "SRV", "AAAA", "AUTH", "ADDR", "SIZE", "EACCES", "MAIL", "RCPT", "DATA", "CNAME"],
  ...["MB", "CGI", "ACL", "PATH"],
];

it("an abbreviation in a page for operators is in the glossary", () => {
  const glossary = page("glossary.md");
  const missing = OPERATORS.flatMap((name) => {
    const prose = proseOf(page(`${name}.md`))
      .replaceAll(/`[^`]*`/g, "")
      .replaceAll(/\]\([^)]*\)/g, "]");
    const words = prose.match(/(?<![\w./-])[A-Z]{2,}(?![\w./-])/g) ?? [];
    const unknown = words.filter((word) => !COMMON.includes(word) && !glossary.includes(word));
    return unknown.map((word) => `${name}: ${word}`);
  });
  expect([...new Set(missing)]).toEqual([]);
});
