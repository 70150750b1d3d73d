/**
 * The Debian package, in the life that it is made for: built, judged by lintian, installed over an
 * older build in a fresh Debian 13 with that release's own Node, run, removed and purged. The
 * mirror is the one of this machine's apt. There is no systemd in that root; a stand-in for
 * systemctl notes what the package asks of it.
 * Needs: root, debootstrap, dh, dpkg-shlibdeps, lintian, man.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { legacySite, ROOT } from "./e2e/stage.js";
import { freePort } from "./support/ports.js";
import { scratchOfFile } from "./support/scratch.js";
import { SmtpClient } from "./support/smtp-client.js";
import { until } from "./support/until.js";

const VERSION = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).version;
const SUITE = "trixie";
/** What a minimal Debian lacks of the package's dependencies. */
const DEPENDENCIES = ["nodejs", "systemd-standalone-sysusers"];
const KEY = "7F5A44454C724A65CBCD4FB14D270D06F42584E6";
const SITE = "pgp-public-keys@kx.example.org";
const OLD = "pgp-public-keys@old.example.net";
const FAR = "pgp-public-keys@far.example.net";
const MINUTE = 60_000;

const work = scratchOfFile();
const root = join(work, "debian");
let deb = "";
let older = "";
const running: ChildProcess[] = [];

afterAll(() => {
  for (const child of running) child.kill("SIGKILL");
});

function output(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): string {
  return execFileSync(program, args, {
    encoding: "utf8",
    env: { ...process.env, ...env },
    maxBuffer: 64 * 1024 * 1024,
  });
}

/** Builds the package into a directory of its own; its path. */
function build(name: string): string {
  const out = join(work, name);
  const env = { DEBFULLNAME: "Test Suite", DEBEMAIL: "test@keys.sunet.se" };
  output("npm", ["--prefix", ROOT, "run", "-s", "package:deb", "--", "--out", out], env);
  const [file = ""] = readdirSync(out);
  return join(out, file);
}

/** The same package under an earlier version, with a file that this one no longer has. */
function earlier(): string {
  const tree = join(work, "earlier");
  output("dpkg-deb", ["-R", deb, tree]);
  const control = join(tree, "DEBIAN/control");
  const text = readFileSync(control, "utf8");
  writeFileSync(control, text.replace(/^Version: .*/m, `Version: ${VERSION}~rc1-1`));
  writeFileSync(join(tree, "usr/lib/kxgw/gone.js"), "");
  const file = join(work, "earlier.deb");
  output("dpkg-deb", ["-b", "-Znone", tree, file]);
  return file;
}

/** The repository of Debian that this machine installs from. */
function mirror(): string {
  const format = "$(REPO_URI)|$(ORIGIN)|$(LABEL)";
  const targets = output("apt-get", ["indextargets", "--format", format, "Created-By: Packages"]);
  const debian = targets.split("\n").find((line) => line.endsWith("|Debian|Debian"));
  if (debian === undefined) throw new Error("apt of this machine knows no repository of Debian");
  return debian.split("|")[0] ?? "";
}

function apt(key: string): string {
  return output("apt-config", ["dump", "--format", "%v", key]);
}

/** The arguments of a command in the new Debian, with a /proc that ends with it. */
function inside(words: readonly string[], user = "root"): string[] {
  const script =
    'root=$1 user=$2; shift 2; mount -t proc proc "$root/proc" && ' +
    'exec chroot --userspec="$user" "$root" env -i PATH=/usr/sbin:/usr/bin "$@"';
  const command = ["sh", "-c", script, "sh", root, `${user}:${user}`, ...words];
  return ["--mount", "--propagation", "private", ...command];
}

function runs(command: readonly string[], user?: string): { code: number; text: string } {
  const { status, stdout, stderr } = spawnSync("unshare", inside(command, user), {
    encoding: "utf8",
  });
  return { code: status ?? -1, text: `${stdout}${stderr}` };
}

/** The same; what it prints, and an error when it fails. */
function does(command: readonly string[], user?: string): string {
  const { code, text } = runs(command, user);
  expect([command.join(" "), code, text]).toEqual([command.join(" "), 0, text]);
  return text;
}

/** Every path of the new Debian but for dpkg's own notes, logs and caches. */
function paths(): string[] {
  const kept = /^\.?\/?(var\/(lib\/(dpkg|apt)|log|cache)|proc|run|tmp)\//;
  return output("find", [root, "-xdev", "-printf", "%P\\n"])
    .split("\n")
    .filter((path) => !kept.test(path));
}

/** What systemctl was told to do to units, by the package's scripts. */
function asked(calls: string): string[] {
  const lines = readFileSync(calls, "utf8").split("\n");
  return lines
    .map((line) => line.replaceAll(/--\w+ ?/g, ""))
    .filter((line) => /^(re|try-re)?start |^(stop|enable|disable|preset) /.test(line));
}

/** Starts the service as its unit does, and waits until it is healthy. */
async function serve(): Promise<() => Promise<number>> {
  const command = ["kxgw", "serve", "-c", "/etc/kxgw/kxgw.toml"];
  const child = spawn("unshare", inside(command, "kxgw"), { stdio: ["ignore", "pipe", "pipe"] });
  running.push(child);
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (bytes: Buffer) => {
      said += bytes.toString();
    });
  }
  const ended = new Promise<number>((resolve) => child.once("exit", (code) => resolve(code ?? -1)));
  const { code, text } = runs(["kxgw", "health", "--wait", "20s"], "kxgw");
  expect([code, text, said]).toEqual([0, expect.stringMatching(/^ok/), said]);
  return async () => {
    child.kill("SIGTERM");
    return await ended;
  };
}

beforeAll(() => {
  deb = build("first");
  older = earlier();
  const proxy = apt("Acquire::http::Proxy");
  const args = ["--variant=minbase", `--include=${DEPENDENCIES}`, SUITE, root, mirror()];
  // What it mounts is gone with it, also when it fails half way.
  const apart = ["--mount", "--propagation", "private", "debootstrap"];
  output("unshare", [...apart, ...args], proxy === "" ? {} : { http_proxy: proxy });
}, 15 * MINUTE);

describe("the file", () => {
  it("is named after version and architecture, and the same for the same commit", {
    timeout: 4 * MINUTE,
  }, () => {
    const architecture = output("dpkg", ["--print-architecture"]).trim();
    expect(deb).toBe(join(work, "first", `kxgw_${VERSION}-1_${architecture}.deb`));
    const sum = (file: string) => createHash("sha256").update(readFileSync(file)).digest("hex");
    expect(sum(build("second"))).toBe(sum(deb));
  });

  it("lintian has no errors and no warnings", { timeout: 3 * MINUTE }, () => {
    const args = ["--allow-root", "--fail-on", "error,warning", deb];
    const { status, stdout, stderr } = spawnSync("lintian", args, { encoding: "utf8" });
    expect([status, stdout, stderr]).toEqual([0, "", ""]);
  });

  it("depends on the Node that its module is compiled for, and on no other", () => {
    const [major = ""] = process.versions.node.split(".");
    const depends = output("dpkg-deb", ["-f", deb, "Depends"]);
    expect(depends).toContain(`nodejs (>= ${major}~), nodejs (<< ${Number(major) + 1}~)`);
  });

  it("names the license of every module in it", () => {
    const tree = join(work, "earlier/usr/lib/kxgw/node_modules");
    const copyright = readFileSync(join(work, "earlier/usr/share/doc/kxgw/copyright"), "utf8");
    const manifests = readdirSync(tree, { recursive: true, encoding: "utf8" })
      .filter((path) => /(^|node_modules\/)(@[^/]+\/)?[^/@]+\/package\.json$/.test(path))
      .map((path) => JSON.parse(readFileSync(join(tree, path), "utf8")));
    expect(manifests.length).toBeGreaterThan(40);
    for (const { name, version } of manifests) expect(copyright).toContain(`${name} ${version} (`);
  });
});

describe("in Debian 13", () => {
  const calls = join(root, "run/systemctl-calls");
  let before: string[] = [];
  let ports: { smtp: number; admin: number; relay: number };

  it("is installed, and starts nothing", () => {
    before = paths();
    // For deb-systemd-invoke this is what a running systemd looks like.
    mkdirSync(join(root, "run/systemd/system"), { recursive: true });
    const systemctl = join(root, "usr/bin/systemctl");
    writeFileSync(systemctl, '#!/bin/sh\necho "$@" >>/run/systemctl-calls\n');
    chmodSync(systemctl, 0o755);
    appendFileSync(calls, "");
    writeFileSync(join(root, "tmp/kxgw.deb"), readFileSync(older));
    expect(does(["dpkg", "-i", "/tmp/kxgw.deb"])).toContain("kxgw check && systemctl enable --now");
    expect(asked(calls)).toEqual([]);
    const config = statSync(join(root, "etc/kxgw/kxgw.toml"));
    const group = Number(does(["getent", "group", "kxgw"]).split(":")[2]);
    expect([config.mode & 0o7777, config.uid, config.gid]).toEqual([0o640, 0, group]);
  });

  it("has version, a configuration without a fault, man pages and completion", () => {
    expect(does(["kxgw", "version"])).toMatch(/^kxgw +\d+\.\d+\.\d+\ncommit +\S/);
    expect(does(["kxgw", "check"], "kxgw")).toContain("mode      observe");
    const man = (page: string) =>
      output("man", ["-M", join(root, "usr/share/man"), "-w", page]).trim();
    expect(["kxgw", "kxgw.toml", "kxgw-serve"].map(man)).toEqual([
      join(root, "usr/share/man/man1/kxgw.1.gz"),
      join(root, "usr/share/man/man5/kxgw.toml.5.gz"),
      join(root, "usr/share/man/man8/kxgw-serve.8.gz"),
    ]);
    const complete =
      ". /usr/share/bash-completion/completions/kxgw; COMP_WORDS=(kxgw tra); COMP_CWORD=1; " +
      '$(complete -p kxgw | sed "s/.*-F \\([^ ]*\\).*/\\1/"); echo "$COMPREPLY"';
    expect(does(["bash", "-c", complete])).toBe("trace\n");
  });

  it("runs the demo", { timeout: MINUTE }, () => {
    expect(does(["kxgw", "demo"])).toContain("22 of 22 arrived complete");
  });

  it("takes a mail as its own user and passes it on", { timeout: MINUTE }, async () => {
    const { site, port: relay } = await legacySite(FAR);
    ports = { smtp: await freePort(), admin: await freePort(), relay };
    const file = join(root, "etc/kxgw/kxgw.toml");
    writeFileSync(file, config(ports));
    expect(does(["kxgw", "check"], "kxgw")).toContain("mode      bridge");
    const stop = await serve();
    expect(await send(ports.smtp)).toContain("250 2.0.0 Stored 1 new, 0 known.");
    await until(() => site.received.length === 1);
    expect(site.received[0]?.fingerprints).toEqual([KEY]);
    expect(does(["kxgw", "trace", KEY], "kxgw")).toContain("old: sent it to us by mail");
    expect(await stop()).toBe(0);
  });

  it("is upgraded: restarts the service, keeps the configuration and the log", async () => {
    writeFileSync(calls, "");
    writeFileSync(join(root, "tmp/kxgw.deb"), readFileSync(deb));
    const said = does(["dpkg", "-i", "/tmp/kxgw.deb"]);
    expect(said).not.toContain("enable --now");
    // A socket stays open meanwhile.
    expect(asked(calls)).toEqual(["try-restart kxgw.service"]);
    expect(existsSync(join(root, "usr/lib/kxgw/gone.js"))).toBe(false);
    expect(readFileSync(join(root, "etc/kxgw/kxgw.toml"), "utf8")).toBe(config(ports));
    const stop = await serve();
    expect(await send(ports.smtp)).toContain("250 2.0.0 Stored 0 new, 1 known.");
    expect(await stop()).toBe(0);
  });

  it("is removed, which stops it, and keeps the data", () => {
    writeFileSync(calls, "");
    does(["dpkg", "-r", "kxgw"]);
    expect(asked(calls)).toEqual(["stop kxgw-smtp.socket kxgw-lmtp.socket kxgw.service"]);
    expect(existsSync(join(root, "usr/lib/kxgw"))).toBe(false);
    expect(existsSync(join(root, "usr/bin/kxgw"))).toBe(false);
    expect(readFileSync(join(root, "etc/kxgw/kxgw.toml"), "utf8")).toBe(config(ports));
    expect(existsSync(join(root, "var/lib/kxgw/updates.db"))).toBe(true);
  });

  it("is purged, and leaves the user alone", () => {
    writeFileSync(join(root, "etc/kxgw/relay-password"), "secret\n");
    does(["dpkg", "-P", "kxgw"]);
    const known = new Set(before);
    const left = paths().filter((path) => !known.has(path) && path !== "usr/bin/systemctl");
    // What useradd and its like keep of a file before they change it.
    expect(left.filter((path) => !/^etc\/(passwd|group|shadow|gshadow)-$/.test(path))).toEqual([]);
    expect(does(["getent", "passwd", "kxgw"])).toMatch(/:\/usr\/sbin\/nologin$/m);
  });
});

function config({ smtp, admin, relay }: { smtp: number; admin: number; relay: number }): string {
  return `[site]
address = "${SITE}"
[log]
path = "/var/lib/kxgw/updates.db"
[smtp]
listen = ["127.0.0.1:${smtp}"]
[admin]
listen = "127.0.0.1:${admin}"
[outbound]
relay = "smtp://127.0.0.1:${relay}"
[[peer]]
name = "old"
mail = "${OLD}"
accept_from = ["127.0.0.1"]
[[peer]]
name = "far"
mail = "${FAR}"
accept_from = ["192.0.2.1"]
`;
}

async function send(port: number): Promise<string> {
  const armor = readFileSync(join(ROOT, "share/keys/role-4D270D06F42584E6.asc"), "latin1");
  const client = await SmtpClient.connect(port);
  const mail = `From: ${OLD}\nTo: ${SITE}\nSubject: INCREMENTAL\n\n${armor}`;
  const { text } = await client.deliver(mail, { from: OLD, to: SITE });
  await client.quit();
  return text;
}
