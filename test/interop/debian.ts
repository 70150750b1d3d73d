/**
 * The real neighbours as Debian packages: which are missing, and how they get onto the machine
 * without any of their daemons starting. Runs once before the suite; without root it only says what
 * to install, and fails. A second mail server cannot be installed beside Postfix and is unpacked.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const PACKAGES = ["sks", "onak", "postfix", "gnupg", "sq", "debian-keyring"] as const;
/** What unpacked programs are linked with: Exim, and OpenSMTPD. */
const LIBRARIES = ["libidn12", "libgnutls-dane0", "libnsl2", "libevent-2.1-7"] as const;

/** What invoke-rc.d and deb-systemd-invoke ask before they start anything; 101 forbids it. */
const POLICY = "/usr/sbin/policy-rc.d";

/** Name and version of each package, all installed. Throws when one is missing and cannot be. */
export function installNeighbours(): string[] {
  const missing = [...PACKAGES, ...LIBRARIES].filter(
    (name) => installedVersion(name) === undefined,
  );
  if (missing.length > 0) {
    if (process.getuid?.() !== 0) {
      throw new Error(`install them first: apt-get install ${missing.join(" ")}`);
    }
    install(missing);
  }
  return PACKAGES.map((name) => {
    const version = installedVersion(name);
    if (version === undefined) throw new Error(`${name} did not get installed`);
    return `${name} ${version}`;
  });
}

/** Fetches a package and unpacks it in `directory`, which is made; resolves with its version. */
export function unpack(name: string, directory: string): string {
  const own = join(directory, "deb");
  mkdirSync(own, { recursive: true });
  if (apt(["download", "-q", name], own).status !== 0) {
    apt(["update", "-q"]);
    const { status, stderr } = apt(["download", "-q", name], own);
    if (status !== 0) throw new Error(`apt-get download ${name} failed:\n${stderr}`);
  }
  const [file = ""] = readdirSync(own).filter((one) => one.startsWith(`${name}_`));
  const { status, stderr } = spawnSync("dpkg", ["-x", join(own, file), directory]);
  if (status !== 0) throw new Error(`dpkg -x ${file} failed:\n${stderr}`);
  return file.split("_")[1] ?? "";
}

function install(names: readonly string[]): void {
  const forbidding = !existsSync(POLICY);
  if (forbidding) writeFileSync(POLICY, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    const answers = "postfix postfix/main_mailer_type select No configuration\n";
    spawnSync("debconf-set-selections", { input: answers });
    const fetched = apt(["update", "-q"]);
    const done = apt(["install", "-y", "-q", "--no-install-recommends", ...names]);
    if (done.status !== 0) {
      throw new Error(`apt-get install failed:\n${fetched.stderr}${done.stderr}`);
    }
  } finally {
    if (forbidding) rmSync(POLICY);
  }
}

function apt(args: readonly string[], cwd = "/"): { status: number | null; stderr: string } {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const { status, stderr } = spawnSync("apt-get", [...args], { cwd, env, encoding: "utf8" });
  return { status, stderr };
}

function installedVersion(name: string): string | undefined {
  const format = `-f=\${db:Status-Status} \${Version}`;
  const { stdout } = spawnSync("dpkg-query", ["-W", format, name], { encoding: "utf8" });
  return /^installed (.+)$/.exec(stdout)?.[1];
}
