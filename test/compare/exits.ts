/**
 * Exit codes of command lines, with no gateway and with one running. Scripts and mail systems act
 * upon them. Each line is run in a directory with a good config, a bad one, and some files.
 */
import { execFile } from "node:child_process";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { GatewayProcess } from "../../src/demo/process.js";
import { projectRoot } from "../torture/material.js";

const KEY = "084750FC01A6D388A643D869010908312D230C5F";

/** `@` stands for the config that is good. */
const DOWN: readonly string[] = [
  "",
  "--help",
  "--version",
  "nonsense",
  "check -c @",
  "check -c bad.toml",
  "check -c missing.toml",
  "check --nonsense",
  "config show -c @",
  "config show -c bad.toml",
  "config schema",
  "config migrate sksconf",
  "config migrate missing",
  "hash key.asc",
  "hash garbage",
  "hash missing",
  "hash empty",
  "import -c @ key.asc",
  "import -c @ garbage",
  "import -c @ missing",
  "log -c @",
  "log -c @ --json",
  "log -c missing.toml",
  "status -c @",
  "health -c @",
  "doctor -c @",
  "doctor -c bad.toml",
  "peers ls -c @",
  "peers show far -c @",
  "peers show nobody -c @",
  "peers pause far -c @",
  "queue ls -c @",
  "queue ls nobody -c @",
  "queue show 1 -c @",
  "queue show x -c @",
  "queue skip far 1 -c @",
  "queue skip far x -c @",
  "queue retry far -c @",
  "backfill far -c @",
  "trace 1 -c @",
  "trace nonsense -c @",
  "block -c @",
  "block xyz -c @",
  "forget xyz -c @",
  "db check -c @",
  "db backup copy.db -c @",
  "db backup copy.db -c @",
  "ingest -c @ key.asc",
  "init --site a@b.example new.toml",
  "init -c new.toml --site a@b.example",
  "init -c new.toml --site a@b.example",
  "version",
  "version --json",
  "completion bash",
  "completion tcsh",
  "serve -c bad.toml",
  "serve -c missing.toml",
  "serve --nonsense",
];

const UP: readonly string[] = [
  "serve -c @",
  "import -c @ key.asc",
  "status -c @",
  "status -c @ --json",
  "health -c @",
  "doctor -c @",
  "peers ls -c @",
  "peers show far -c @",
  "peers pause far -c @",
  "peers pause nobody -c @",
  "peers resume far -c @",
  "queue ls -c @",
  "queue retry far -c @",
  "queue retry nobody -c @",
  "queue skip far 999 -c @",
  "trace 1 -c @",
  "db check -c @",
  "db backup live.db -c @",
  "ingest -c @ mail.eml",
  "ingest -c @ garbage",
  `block ${KEY} -c @ --reason test`,
  "block -c @",
  "ingest -c @ mail.eml",
  `unblock ${KEY} -c @ --reason test`,
  `forget ${KEY} -c @ --reason test`,
];

export async function exitCodes(checkout: string, directory: string): Promise<string[]> {
  const program = join(checkout, "dist/main.js");
  prepare(directory);
  const lines: string[] = [];
  const all = async (when: string, commands: readonly string[]) => {
    for (const command of commands) {
      const args = command.split(" ").filter((word) => word !== "");
      const given = args.map((word) => (word === "@" ? "kxgw.toml" : word));
      lines.push(`${when}: kxgw ${command}: exit ${await exitOf(program, given, directory)}`);
    }
  };
  await all("down", DOWN);
  const gateway = await GatewayProcess.start(join(directory, "kxgw.toml"), program);
  try {
    await all("up", UP);
  } finally {
    lines.push(`SIGTERM: exit ${await gateway.end()}`);
  }
  return lines;
}

/** Runs `kxgw` to its end; -1 when a signal ended it. */
export function exitOf(
  program: string,
  args: readonly string[],
  directory?: string,
): Promise<number> {
  const options = { maxBuffer: 64 * 1024 * 1024, ...(directory && { cwd: directory }) };
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [program, ...args], options, (error) => {
      resolve(error === null ? 0 : typeof error.code === "number" ? error.code : -1);
    });
    child.stdin?.end();
  });
}

function prepare(directory: string): void {
  const fixtures = join(projectRoot(), "test/fixtures");
  const write = (name: string, text: string) => writeFileSync(join(directory, name), text);
  mkdirSync(directory, { recursive: true });
  write("garbage", "no key\n");
  write("empty", "");
  write("bad.toml", '[site]\naddress = "nonsense"\n[lgo]\n');
  write(
    "kxgw.toml",
    `[site]
address = "pgp-public-keys@kx.example.org"
[log]
[smtp]
listen = ["127.0.0.1:0", "lmtp:lmtp.sock"]
[outbound]
relay = "smtp://127.0.0.1:1"
[admin]
listen = "127.0.0.1:0"
[[peer]]
name = "far"
mail = "pgp-public-keys@far.example.net"
accept_from = ["127.0.0.1"]
`,
  );
  const [key = ""] = readdirSync(join(fixtures, "keys")).sort();
  copyFileSync(join(fixtures, "keys", key), join(directory, "key.asc"));
  const head = "From: pgp-public-keys@far.example.net\nSubject: incremental\n";
  write("mail.eml", `${head}\n${readFileSync(join(fixtures, "keys", key), "latin1")}`);
  copyFileSync(join(fixtures, "configs/sks/sksconf"), join(directory, "sksconf"));
}
