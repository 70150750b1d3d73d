/**
 * A floor as a process beside the gateways: one of the programs of `floors/`, measured as they are.
 * A floor that serves prints its port; what one prints at its end is its result.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

export class FloorProcess {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  #printed = "";

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.on("data", (text: Buffer) => {
      this.#printed += text.toString();
    });
    this.#exited = once(child, "close");
  }

  /** Starts `floors/NAME`; `build` holds the compiled tests. */
  static start(build: string, name: string, args: readonly string[] = []): FloorProcess {
    const program = join(build, "test/bench/floors", `${name}.js`);
    return new FloorProcess(
      spawn(process.execPath, [program, ...args], { stdio: ["pipe", "pipe", "inherit"] }),
    );
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** The port that it listens on. */
  async port(): Promise<number> {
    while (!this.#printed.includes("\n")) {
      if (!this.isRunning) throw new Error("a floor ended before it listened");
      await once(this.#child.stdout ?? this.#child, "data");
    }
    return Number(this.#printed);
  }

  /** Closes its standard input and waits for its end; resolves with what it has printed. */
  async end(): Promise<string> {
    this.#child.stdin?.end();
    await this.#exited;
    if (this.#child.exitCode !== 0) throw new Error(`a floor ended with ${this.#child.exitCode}`);
    return this.#printed.trim();
  }

  /** Ends it where a bench breaks off. */
  stop(): void {
    this.#child.kill("SIGKILL");
  }
}
