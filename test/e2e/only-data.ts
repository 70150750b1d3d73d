/**
 * Runs a program where nothing can be written but one directory, as in a container with a read-only
 * root and a volume: in a mount namespace of its own in which every file system is read-only. Where
 * no namespace may be made, strace has SQLite find the directories for temporary files read-only.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { type Run, run } from "./stage.js";

/** What is mounted is made read-only, the deepest first; the directory is mounted over itself. */
const SCRIPT = `
  directory=$1
  shift
  mount --bind "$directory" "$directory"
  cut -d' ' -f2 /proc/self/mounts | sort -ru | while read -r at; do
    [ "$at" = "$directory" ] || mount -o remount,bind,ro "$at" 2>/dev/null || true
  done
  cd /
  exec "$@"`;

const TEMPORARY = ["/tmp", "/var/tmp", "/usr/tmp", "."];

/** The command that runs a program so. */
function under(directory: string): string[] {
  const isRoot = process.getuid?.() === 0;
  const unshare = ["unshare", "--mount", ...(isRoot ? [] : ["--map-root-user"])];
  const inside = [...unshare, "sh", "-ec", SCRIPT, "sh", directory];
  const [program = "", ...args] = [...inside, "sh", "-c", "! touch /tmp/written 2>/dev/null"];
  if (spawnSync(program, args).status === 0) return inside;
  const paths = TEMPORARY.flatMap((path) => ["-P", path]);
  const refused = ["-e", "inject=access,faccessat,faccessat2:error=EROFS"];
  return ["strace", "-f", "-qq", "-o", "/dev/null", ...paths, ...refused];
}

/** A program with only `directory` writable, run to its end. */
export async function runWithOnly(directory: string, command: readonly string[]): Promise<Run> {
  const real = execFileSync("realpath", [directory], { encoding: "utf8" }).trim();
  const [program = "", ...args] = [...under(real), ...command];
  return await run(program, args, { directory: "/" });
}
