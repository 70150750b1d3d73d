/**
 * Debian packages: which version is installed, and one that cannot be installed, since a second
 * mail server cannot stand beside Postfix, unpacked from the archive.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";

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

function apt(args: readonly string[], cwd = "/"): { status: number | null; stderr: string } {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const { status, stderr } = spawnSync("apt-get", [...args], { cwd, env, encoding: "utf8" });
  return { status, stderr };
}

/** The version of an installed package. */
export function installedVersion(name: string): string | undefined {
  const format = `-f=\${db:Status-Status} \${Version}`;
  const { stdout } = spawnSync("dpkg-query", ["-W", format, name], { encoding: "utf8" });
  return /^installed (.+)$/.exec(stdout)?.[1];
}
