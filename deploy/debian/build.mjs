/**
 * `npm run package:deb -- [--revision N] [--out DIRECTORY]`: makes kxgw_VERSION-N_ARCH.deb in
 * packages/, with debhelper (Debian packages debhelper and dpkg-dev). Run it after `npm ci`.
 *
 * The package holds the built program, the modules that it loads (better-sqlite3 as npm compiled it
 * here, so it fits the major version of this Node only, which is what it depends on), man pages,
 * completion, units and docs. Nothing is fetched. Times in it are those of the commit, or of
 * SOURCE_DATE_EPOCH. The maintainer is who builds: DEBFULLNAME and DEBEMAIL, else the author of the
 * commit.
 */
import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** Of a module's files only those that Node loads. */
const LOADED = [".js", ".cjs", ".mjs", ".json", ".node"];
const NOT_LOADED =
  /^(test|tests|bench|benchmark|benchmarks|example|examples|docs|obj|obj\.target)$/;
/** Files that nobody loads: settings of editors, commands, what better-sqlite3 tests itself with. */
const SUPERFLUOUS = /^(\..*|bin\.m?js|test_extension\.node)$/;
/** Needed by npm to compile, never by the program. */
const ONLY_TO_INSTALL = ["prebuild-install"];

const { values: options } = parseArgs({
  options: {
    revision: { type: "string", default: "1" },
    out: { type: "string", default: join(ROOT, "packages") },
  },
});
const manifest = json("package.json");
const version = `${manifest.version}-${options.revision}`;
const stage = mkdtempSync(join(tmpdir(), "kxgw-deb-"));
try {
  const source = join(stage, "kxgw");
  fill(source);
  const epoch = process.env.SOURCE_DATE_EPOCH || git("log", "-1", "--format=%ct") || now();
  describe(join(source, "debian"), Number(epoch));
  execFileSync("debian/rules", ["binary"], {
    cwd: source,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, SOURCE_DATE_EPOCH: epoch, LC_ALL: "C.UTF-8" },
  });
  mkdirSync(options.out, { recursive: true });
  for (const name of readdirSync(stage).filter((one) => one.endsWith(".deb"))) {
    const target = join(options.out, name);
    cpSync(join(stage, name), `${target}.part`);
    renameSync(`${target}.part`, target);
    process.stdout.write(`${target}\n`);
  }
} finally {
  rmSync(stage, { recursive: true, force: true });
}

/** What debhelper finds in the directory of the source. */
function fill(source) {
  const lib = join(source, "lib");
  mkdirSync(lib, { recursive: true });
  npm("exec", "--no", "--", "tsc", "-p", "tsconfig.build.json", "--outDir", join(lib, "dist"));
  execFileSync(process.execPath, [join(ROOT, "deploy/stamp.mjs"), join(lib, "dist")]);
  dropMaps(join(lib, "dist"));
  const main = join(lib, "dist/main.js");
  // Another Node in front of the PATH could not load the compiled module.
  writeFileSync(main, readFileSync(main, "utf8").replace(/^#!.*/, "#!/usr/bin/node"));
  cpSync(join(ROOT, "package.json"), join(lib, "package.json"));
  cpSync(join(ROOT, "share"), join(lib, "share"), { recursive: true });
  for (const place of modules()) copyModule(place, lib);
  for (const part of ["docs", "deploy", "README.md", "CHANGELOG.md"]) {
    cpSync(join(ROOT, part), join(source, part), { recursive: true });
  }
  cpSync(join(ROOT, "deploy/debian"), join(source, "debian"), { recursive: true });
  cpSync(join(ROOT, "deploy/kxgw.sysusers"), join(source, "debian/kxgw.sysusers"));
  for (const shell of ["bash", "zsh", "fish"]) {
    const script = execFileSync(process.execPath, [main, "completion", shell]);
    writeFileSync(join(source, `completion.${shell}`), script);
  }
}

/** The files that debhelper wants to know version, time and dependencies from. */
function describe(debian, epoch) {
  const date = new Date(epoch * 1000).toUTCString().replace("GMT", "+0000");
  const maintainer = maintainerOf();
  writeFileSync(
    join(debian, "changelog"),
    `kxgw (${version}) unstable; urgency=medium\n\n` +
      "  * This release. What is new in it: changelog.gz beside this file.\n\n" +
      ` -- ${maintainer}  ${date}\n`,
  );
  const control = readFileSync(join(debian, "control"), "utf8");
  const major = Number(process.versions.node.split(".")[0]);
  const node = `nodejs (>= ${major}~), nodejs (<< ${major + 1}~)`;
  writeFileSync(
    join(debian, "control"),
    control.replace("@MAINTAINER@", maintainer).replace("@NODE@", node),
  );
  writeFileSync(join(debian, "copyright"), copyright());
}

function maintainerOf() {
  const { DEBFULLNAME, DEBEMAIL } = process.env;
  if (DEBEMAIL) return `${DEBFULLNAME || DEBEMAIL.split("@")[0]} <${DEBEMAIL}>`;
  const author = git("log", "-1", "--format=%an <%ae>");
  if (author !== "") return author;
  throw new Error("package:deb: set DEBFULLNAME and DEBEMAIL: a package names its maintainer");
}

/** The modules that the program loads, as paths below ROOT: what package-lock.json says. */
function modules() {
  const { packages } = json("package-lock.json");
  const found = new Set();
  const waiting = [""];
  for (let from = waiting.pop(); from !== undefined; from = waiting.pop()) {
    for (const name of Object.keys(packages[from].dependencies ?? {})) {
      const place = ONLY_TO_INSTALL.includes(name) ? undefined : resolved(packages, from, name);
      if (place === undefined || found.has(place)) continue;
      found.add(place);
      waiting.push(place);
    }
  }
  return [...found].sort();
}

/** Where Node finds `name` for a module in `from`: in it, or in a directory above. */
function resolved(packages, from, name) {
  for (
    let place = from;
    ;
    place = place.slice(0, Math.max(0, place.lastIndexOf("node_modules/") - 1))
  ) {
    const candidate = `${place === "" ? "" : `${place}/`}node_modules/${name}`;
    if (candidate in packages) return candidate;
    if (place === "") throw new Error(`package:deb: ${from} needs ${name}: run npm ci`);
  }
}

function copyModule(place, lib) {
  const from = join(ROOT, place);
  cpSync(from, join(lib, place), {
    recursive: true,
    filter: (path) => {
      const inner = path.slice(from.length + 1);
      if (inner.split("/").some((part) => NOT_LOADED.test(part) || part === "node_modules")) {
        return false;
      }
      if (statSync(path).isDirectory()) return true;
      return LOADED.includes(extname(path)) && !SUPERFLUOUS.test(basename(path));
    },
  });
  dropEmpty(join(lib, place));
  // npm leaves executable bits on files that nobody runs.
  execFileSync("chmod", ["-R", "a-x,a+X", join(lib, place)]);
}

/** Removes directories without a file; true when nothing is left of this one. */
function dropEmpty(directory) {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) dropEmpty(join(directory, entry.name));
  }
  if (readdirSync(directory).length === 0) rmSync(directory, { recursive: true });
}

function dropMaps(dist) {
  for (const name of readdirSync(dist, { recursive: true, encoding: "utf8" })) {
    if (name.endsWith(".map")) rmSync(join(dist, name));
    else if (name.endsWith(".js")) {
      const text = readFileSync(join(dist, name), "utf8");
      writeFileSync(join(dist, name), text.replace(/^\/\/# sourceMappingURL=.*\n?/m, ""));
    }
  }
}

/** The license of the gateway, then those of the modules: alike ones once, with all their names. */
function copyright() {
  const own = readFileSync(join(ROOT, "LICENSE"), "utf8");
  const texts = new Map();
  for (const place of modules()) {
    const { name, version: of, license } = json(join(place, "package.json"));
    const files = readdirSync(join(ROOT, place)).filter((one) =>
      /^(licen[cs]e|copying|notice)/i.test(one),
    );
    const all = files.map((one) => readFileSync(join(ROOT, place, one), "utf8").trim());
    // Some have it at the end of their README only.
    if (all.length === 0) all.push(...licenseInReadme(place));
    if (all.length === 0) throw new Error(`package:deb: ${place} has no license`);
    // Debian has the text of this one; 90 copies of it would help nobody.
    const text = /Apache License\s+Version 2\.0/.test(all.join("\n"))
      ? "Apache License, Version 2.0: see /usr/share/common-licenses/Apache-2.0."
      : all.join("\n\n");
    const names = texts.get(text) ?? [];
    texts.set(text, [...names, `${name} ${of} (${license})`]);
  }
  const parts = [...texts].map(([text, names]) => `${names.join("\n")}\n\n${indented(text)}\n`);
  return [
    "kxgw, the KX gateway (package kx-gateway of npm).\n",
    indented(own.trim()),
    "\nBelow /usr/lib/kxgw/node_modules are modules of other authors, unchanged but for files that",
    "the program does not load:\n",
    ...parts,
    "better-sqlite3 contains SQLite, which is in the public domain.\n",
  ].join("\n");
}

/** The section on the license of the README of a module, without its heading. */
function licenseInReadme(place) {
  const readme = join(ROOT, place, "README.md");
  if (!existsSync(readme)) return [];
  const [, section] =
    /^#+ +licen[cs]e *\n(.*?)(?=^#|(?![\s\S]))/ims.exec(readFileSync(readme, "utf8")) ?? [];
  return section === undefined ? [] : [section.trim()];
}

function indented(text) {
  return text.replace(/\r/g, "").replace(/^(?=.)/gm, "    ");
}

function json(path) {
  return JSON.parse(readFileSync(join(ROOT, path), "utf8"));
}

/** What git prints; "" without git, or where it does not answer. */
function git(...args) {
  if (!existsSync(join(ROOT, ".git"))) return "";
  try {
    return execFileSync("git", args, { cwd: ROOT, encoding: "utf8", stdio: "pipe" }).trim();
  } catch {
    return "";
  }
}

function npm(...args) {
  execFileSync("npm", args, { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"] });
}

function now() {
  return String(Math.floor(Date.now() / 1000));
}
