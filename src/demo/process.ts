/**
 * A gateway as a child process, for the demo and the tests: started with a config file, ready at
 * its `ready` event, ended by a signal. KXGW_ variables of the caller's environment are
 * not passed to it, because they would override its config.
 */
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** A diagnostics line of a gateway. */
export type EventLine = { readonly event: string } & Readonly<Record<string, unknown>>;

/** Directory and environment of a gateway; by default those of this process. */
export interface GatewayPlace {
  readonly directory?: string;
  /** Added to the inherited environment. */
  readonly env?: Readonly<Record<string, string>>;
}

const READY_MS = 20_000;
const LAST_WORDS_MS = 1000;

export class GatewayProcess {
  readonly #child: ChildProcess;
  /** All events so far. */
  readonly events: EventLine[] = [];
  readonly #watchers = new Set<() => void>();
  #output = "";
  #errors = "";
  #exitCode: number | undefined;
  /** The exit code, -1 if a signal ended it. */
  readonly exited: Promise<number>;

  private constructor(command: readonly string[], { directory, env }: GatewayPlace) {
    const [program = "", ...args] = command;
    this.#child = spawn(program, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...inherited(), ...env },
      ...(directory === undefined ? {} : { cwd: directory }),
    });
    const { stdout, stderr } = this.#child;
    if (stdout === null || stderr === null) throw new Error("a child without pipes");
    createInterface({ input: stdout }).on("line", (line) => this.#read(line));
    stderr.on("data", (text: Buffer) => {
      this.#errors += text.toString();
    });
    this.exited = new Promise((resolve) => {
      this.#child.once("exit", (code) => {
        const settle = () => {
          this.#exitCode = code ?? -1;
          this.#changed();
          resolve(this.#exitCode);
        };
        // The output is read to its end; but a grandchild may keep the pipes open.
        this.#child.once("close", settle);
        setTimeout(settle, LAST_WORDS_MS).unref();
      });
    });
  }

  /**
   * Starts `kxgw serve` with or without a config file, optionally `under` another command such as a
   * tracer; it may not listen yet.
   */
  static spawn(
    configFile: string | undefined,
    program = ownProgram(),
    under: readonly string[] = [],
    place: GatewayPlace = {},
  ): GatewayProcess {
    const config = configFile === undefined ? [] : ["-c", configFile];
    return new GatewayProcess([...under, process.execPath, program, "serve", ...config], place);
  }

  /** Starts `kxgw serve` with a config file and waits until it listens. */
  static async start(configFile: string, program = ownProgram()): Promise<GatewayProcess> {
    const gateway = GatewayProcess.spawn(configFile, program);
    await gateway.event("ready");
    return gateway;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Its output on stdout so far: the events. */
  get output(): string {
    return this.#output;
  }

  /** Its output on stderr so far. */
  get errors(): string {
    return this.#errors;
  }

  /** The port of a listener, as the `ready` event names it. */
  port(door: "smtp" | "hkp" | "kx" | "admin"): number {
    const ready = this.events.findLast(({ event }) => event === "ready");
    const [first] = [ready?.[door]].flat();
    return Number(/:(\d+)$/.exec(String(first))?.[1] ?? 0);
  }

  /** The first event of that name, past or future. Rejects if the process ends before. */
  event(name: string, matches: (line: EventLine) => boolean = () => true): Promise<EventLine> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => done(new Error(`no event ${name} in time`)), READY_MS);
      const done = (outcome: EventLine | Error) => {
        clearTimeout(timer);
        this.#watchers.delete(look);
        if (outcome instanceof Error) reject(outcome);
        else resolve(outcome);
      };
      const look = () => {
        const found = this.events.find((line) => line.event === name && matches(line));
        if (found !== undefined) done(found);
        else if (this.#exitCode !== undefined) {
          done(new Error(`the gateway ended with ${this.#exitCode}: ${this.#errors.trim()}`));
        }
      };
      this.#watchers.add(look);
      look();
    });
  }

  /** /status.json, parsed. */
  async status(): Promise<Record<string, unknown>> {
    const answer = await fetch(`http://127.0.0.1:${this.port("admin")}/status.json`);
    return (await answer.json()) as Record<string, unknown>;
  }

  /** Sends a signal and waits for the end; resolves with the exit code, -1 for a kill. */
  async end(signal: "SIGTERM" | "SIGINT" | "SIGKILL" = "SIGTERM"): Promise<number> {
    if (this.#exitCode === undefined) this.#child.kill(signal);
    return await this.exited;
  }

  /** The last line of a killed process may be incomplete. */
  #read(line: string): void {
    this.#output += `${line}\n`;
    if (!line.startsWith("{") || !line.endsWith("}")) return;
    this.events.push(JSON.parse(line) as EventLine);
    this.#changed();
  }

  #changed(): void {
    for (const look of [...this.#watchers]) look();
  }
}

function inherited(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith("KXGW_"));
  return Object.fromEntries(own);
}

/** The running program, or its build if it runs from source. */
function ownProgram(): string {
  return fileURLToPath(new URL("../../dist/main.js", import.meta.url));
}
