/**
 * docs/install.md and docs/migration.md, line by line: every block is run, is the output of one
 * that is run, is checked, or is named here with the reason why a test can not run it.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { page, ROOT } from "../support/page.js";

/** Who runs all blocks of a kind in a page. */
const RUN: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "install.md": { sh: "test/install.system.ts", text: "test/install.system.ts" },
  "migration.md": {
    sh: "test/migration-page.test.ts",
    text: "test/migration-page.test.ts",
    toml: "test/migration-page.test.ts",
    console: "test/migration-page.test.ts",
    "postfix-aliases": "test/interop/migration.interop.ts",
    "postfix-transport": "test/interop/migration.interop.ts",
    "postfix-main": "test/interop/migration.interop.ts",
    "postfix-keyservers": "test/interop/migration.interop.ts",
    "postfix-headers": "test/interop/migration.interop.ts",
    "postfix-main-users": "test/interop/migration.interop.ts",
    "postfix-master-users": "test/interop/migration.interop.ts",
  },
};

/** The others by their first line: the test that runs the same, or why there is none. */
const OTHERS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "install.md": {
    "$ sudo apt install ./kxgw_1.0.0-1_amd64.deb swaks":
      "test/package-deb.system.ts installs the package in a fresh Debian",
    "$ sudo npm install -g ./kx-gateway-1.0.0.tgz":
      "test/package-npm.system.ts installs the tarball",
    "$ git clone URL kx-gateway && cd kx-gateway":
      "not run: the clone is where this test runs, and CI has run its npm ci",
    "# editor /etc/kxgw/kxgw.toml":
      "deploy/try-systemd.sh starts the service in a system that boots",
    '# cd "$(npm root -g)/kx-gateway"':
      "deploy/try-systemd.sh does the same in a system that boots",
    "$ cd kx-gateway                     # the clone":
      "deploy/try-image.sh does the same with buildah, which needs no daemon",
  },
  "migration.md": {
    "syncsite pgp-public-keys@pks.example.org":
      "test/interop/migration.interop.ts has it as a line of onak.ini; there is no pksd here",
    'pgp-public-keys: "|/usr/local/pks/bin/pks-mail.sh /etc/pks/pksd.conf"':
      "test/interop/migration.interop.ts has this alias with the program of onak",
  },
};

interface Block {
  readonly kind: string;
  readonly first: string;
}

function blocksOf(text: string): Block[] {
  const all = text.matchAll(/^```([\w-]*)\n(.*)\n[\s\S]*?^```$/gm);
  return [...all].map(([, kind = "", first = ""]) => ({ kind, first }));
}

it.each(Object.keys(RUN))("every block of %s is run, or has a reason", (name) => {
  const byKind = RUN[name] ?? {};
  const reasons = OTHERS[name] ?? {};
  const rest = blocksOf(page(name)).filter(({ kind }) => byKind[kind] === undefined);
  expect(rest.map(({ first }) => first)).toEqual(Object.keys(reasons));
  for (const said of [...Object.values(byKind), ...Object.values(reasons)]) {
    const [path = ""] = /^\S+\.(ts|sh)\b/.exec(said) ?? [];
    if (path === "") expect(said, said).toMatch(/^not run: .{20,}$/);
    else expect(existsSync(join(ROOT, path)), path).toBe(true);
  }
  for (const [kind, path] of Object.entries(byKind)) {
    if (!path.startsWith("test/interop")) continue;
    expect(readFileSync(join(ROOT, path), "utf8"), path).toContain(`"${kind}"`);
  }
});
