/**
 * Notifies systemd of the state of the gateway (sd_notify(3)): ready, reloading, stopping, a line
 * for `systemctl status`, and the watchdog. Node cannot send to a datagram socket of AF_UNIX, so
 * `systemd-notify` does it, one message at a time; hence NotifyAccess=all in the unit. It does
 * nothing if $NOTIFY_SOCKET is not set. A message that cannot be sent is reported once and does
 * not stop the gateway.
 *
 * The watchdog message only shows that the event loop runs: a restart does not fix a full disk.
 */
import { execFile } from "node:child_process";
import type { Diagnostics } from "../diagnostics.js";

/** systemd answers within milliseconds, during a boot within seconds. */
const PATIENCE_MS = 5000;
/** A line of `systemctl status`. */
const STATUS_CHARS = 200;

export class ServiceManager {
  readonly #env: NodeJS.ProcessEnv;
  readonly #diagnostics: Diagnostics;
  #work: Promise<void> = Promise.resolve();
  #hasFailed = false;
  #beat: NodeJS.Timeout | undefined;

  constructor({ diagnostics }: { readonly diagnostics: Diagnostics }, env: NodeJS.ProcessEnv) {
    this.#env = env;
    this.#diagnostics = diagnostics;
  }

  /** The gateway listens, after the start or after a reload. */
  ready(status: string): void {
    this.#say("READY=1", `STATUS=${oneLine(status)}`);
  }

  reloading(): void {
    this.#say("RELOADING=1");
  }

  stopping(): void {
    clearInterval(this.#beat);
    this.#say("STOPPING=1");
  }

  /** Sends the watchdog message twice per interval that systemd sets for `pid`, until the stop. */
  keepAlive(pid: number): void {
    const { WATCHDOG_USEC: micros, WATCHDOG_PID: whose } = this.#env;
    const everyMs = Math.floor(Number(micros) / 2000);
    if (!(everyMs >= 1) || (whose !== undefined && whose !== String(pid))) return;
    this.#beat = setInterval(() => this.#say("WATCHDOG=1"), everyMs);
    this.#beat.unref();
  }

  #say(...assignments: string[]): void {
    if (!this.#env.NOTIFY_SOCKET) return;
    this.#work = this.#work.then(() => this.#send(assignments));
  }

  #send(assignments: readonly string[]): Promise<void> {
    return new Promise((resolve) => {
      const options = { env: this.#env, timeout: PATIENCE_MS };
      execFile("systemd-notify", [...assignments], options, (error, _stdout, stderr) => {
        if (error !== null && !this.#hasFailed) {
          this.#hasFailed = true;
          const problem = stderr.trim() || error.message;
          this.#diagnostics.report("notify-failed", { problem });
        }
        resolve();
      });
    });
  }
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ").slice(0, STATUS_CHARS);
}
