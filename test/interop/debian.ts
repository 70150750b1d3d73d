/**
 * The real neighbours as Debian packages: which are missing, and how they get onto the machine
 * without any of their daemons starting. Runs once before the suite; without root it only says what
 * to install, and fails.
 */
import { spawnSync } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";

const PACKAGES = ["sks", "onak", "postfix", "gnupg", "debian-keyring"] as const;

/** What invoke-rc.d and deb-systemd-invoke ask before they start anything; 101 forbids it. */
const POLICY = "/usr/sbin/policy-rc.d";

/** Name and version of each package, all installed. Throws when one is missing and cannot be. */
export function installNeighbours(): string[] {
  const missing = PACKAGES.filter((name) => installedVersion(name) === undefined);
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

function apt(args: readonly string[]): { status: number | null; stderr: string } {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const { status, stderr } = spawnSync("apt-get", [...args], { env, encoding: "utf8" });
  return { status, stderr };
}

function installedVersion(name: string): string | undefined {
  const format = `-f=\${db:Status-Status} \${Version}`;
  const { stdout } = spawnSync("dpkg-query", ["-W", format, name], { encoding: "utf8" });
  return /^installed (.+)$/.exec(stdout)?.[1];
}
