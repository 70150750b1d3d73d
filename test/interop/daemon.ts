/**
 * Programs beside the tests: daemons in a process group of their own, so that a stop reaches their
 * children and nobody else's, and commands that run to their end. Everything that was started is
 * stopped when the test process ends, however it ends.
 */
import type { ChildProcess } from "node:child_process";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { chmod } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const running = new Set<Daemon>();
process.once("exit", () => {
  for (const daemon of running) daemon.signal("SIGKILL");
});

/** The user that mail systems run pipes as; what they write has to be theirs. */
export const NOBODY = { uid: 65534, gid: 65534 } as const;

export class Daemon {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #output = "";

  constructor(program: string, args: readonly string[], options: { readonly cwd?: string } = {}) {
    this.#child = spawn(program, [...args], {
      ...options,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on("data", (text: Buffer) => {
        this.#output += text.toString();
      });
    }
    this.#ended = new Promise((resolve) => {
      this.#child.once("error", () => resolve());
      this.#child.once("exit", () => resolve());
    });
    running.add(this);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** What it wrote to stdout and stderr. */
  get output(): string {
    return this.#output;
  }

  /** Signals the daemon and all that it started. */
  signal(signal: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (pid === undefined) return;
    try {
      process.kill(-pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }

  async stop(): Promise<void> {
    this.signal("SIGTERM");
    const patience = setTimeout(() => this.signal("SIGKILL"), 5000);
    await this.#ended;
    clearTimeout(patience);
    this.signal("SIGKILL");
    running.delete(this);
  }
}

/** Runs a command to its end and returns its stdout; throws with its stderr when it fails. */
export function run(
  program: string,
  args: readonly string[],
  options: {
    readonly input?: string | Uint8Array;
    readonly env?: Readonly<Record<string, string>>;
    readonly uid?: number;
    readonly gid?: number;
  } = {},
): string {
  const { stdout, stderr, status, error } = spawnSync(program, [...args], {
    ...options,
    env: { ...process.env, ...options.env },
    maxBuffer: 64 * 1024 * 1024,
    encoding: "latin1",
  });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${status}\n${stdout}${stderr}`);
  return stdout;
}

/** A temporary directory that daemons under other users can go into. */
export async function openDirectory(): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), "kxgw-interop-"));
  await chmod(directory, 0o755);
  return directory;
}
