/**
 * Notifies systemd of the state of the gateway (sd_notify(3)): ready, reloading, stopping, a line
 * for `systemctl status`, and the watchdog. Node cannot send to a datagram socket of AF_UNIX, so
 * `systemd-notify` does it, one message at a time; hence NotifyAccess=all in the unit. It does
 * nothing if $NOTIFY_SOCKET is not set. A message that cannot be sent is reported once and does
 * not stop the gateway.
 *
 * The watchdog message only shows that the event loop runs: a restart does not fix a full disk.
 */
import { execFile, spawnSync } from "node:child_process";
import type { Diagnostics } from "../diagnostics.js";

/** systemd answers within milliseconds, during a boot within seconds. */
const PATIENCE_MS = 5000;
/** How long a migration may take: ten times what it took on a busy machine, 95 s for 890 MB. */
const MIGRATION_MS = 180_000;
const MIGRATION_MS_PER_MB = 1000;
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

  /**
   * The log of `bytes` is being migrated, which blocks the process: systemd waits longer for the
   * start than its `TimeoutStartSec`. Returns when systemd has got the message.
   */
  migrating(status: string, bytes: number): void {
    if (!this.#env.NOTIFY_SOCKET) return;
    const patienceMs = MIGRATION_MS + (bytes / 1e6) * MIGRATION_MS_PER_MB;
    const words = [
      `STATUS=${oneLine(status)}`,
      `EXTEND_TIMEOUT_USEC=${Math.ceil(patienceMs * 1000)}`,
    ];
    const options = { env: this.#env, timeout: PATIENCE_MS };
    const { error, status: code, stderr } = spawnSync("systemd-notify", words, options);
    if (error === undefined && code === 0) return;
    this.#failed(error?.message ?? String(stderr).trim());
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
        if (error !== null) this.#failed(stderr.trim() || error.message);
        resolve();
      });
    });
  }

  #failed(problem: string): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.#diagnostics.report("notify-failed", { problem });
  }
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ").slice(0, STATUS_CHARS);
}
