/**
 * `kxgw top`: shows the status continuously, with the latest events, until q, Control-C or `count`
 * refreshes. A terminal is redrawn; into a pipe the screens are written one after the other.
 */

import { loadConfig } from "../config/load.js";
import { EXIT } from "../errors.js";
import type { Status } from "../status/status.js";
import { ago } from "../text.js";
import { run, statusOf } from "./daemon.js";
import type { Output } from "./output.js";
import { statusText } from "./status.js";
import { plainText } from "./table.js";

const EVENTS = 12;
/** The alternate screen of the terminal, so that the previous content is restored. */
const ENTER = "\x1b[?1049h\x1b[?25l";
const LEAVE = "\x1b[?25h\x1b[?1049l";
const CONTROL_C = "\x03";
const HOME = "\x1b[H\x1b[J";

export interface TopOptions {
  readonly json: boolean;
  readonly intervalMs: number;
  /** Refreshes before the exit; undefined for no limit. */
  readonly count: number | undefined;
}

/** The keyboard, if standard input is a terminal. */
export interface Keyboard {
  readonly isTTY?: boolean;
  setRawMode?(on: boolean): unknown;
  on(event: "data", listener: (bytes: Buffer) => void): unknown;
  off(event: "data", listener: (bytes: Buffer) => void): unknown;
  unref?(): unknown;
}

export async function topCommand(
  file: string,
  options: TopOptions,
  out: Output,
  env: NodeJS.ProcessEnv,
  terminal: { readonly isTTY: boolean; readonly keyboard: Keyboard },
): Promise<number> {
  const live = terminal.isTTY && !options.json;
  return await run(out, async () => {
    const config = loadConfig(file, env);
    const quit = quitting(terminal.keyboard);
    if (live) out.stdout(ENTER);
    try {
      for (let shown = 1; ; shown++) {
        const status = await statusOf(config);
        if (options.json) out.stdout(`${JSON.stringify(status)}\n`);
        else out.stdout(`${live ? HOME : ""}${picture(status)}${live ? "\nq quits\n" : "\n"}`);
        if (shown === options.count || (await quit.within(options.intervalMs))) return EXIT.ok;
      }
    } finally {
      if (live) out.stdout(LEAVE);
      quit.stop();
    }
  });
}

function picture(status: Status): string {
  const now = Date.parse(status.time);
  const events = status.recent.slice(0, EVENTS).map((report) => {
    const { time, level, neighbour, text, seq, words } = report;
    const who = neighbour === null ? "" : `${neighbour}: `;
    const mark = level === "error" || level === "warn" ? `${level}: ` : "";
    const tail = [seq === null ? "" : `#${seq}`, words ?? ""].filter((part) => part !== "");
    const what = [`${who}${mark}${text}`, ...tail].join(" ");
    return `${ago(Date.parse(time), now).padEnd(11)} ${plainText(what)}`;
  });
  return `${statusText(status)}\n${events.map((line) => `${line}\n`).join("")}`;
}

/** Waits that end early, with true, on q or Control-C. */
function quitting(keyboard: Keyboard) {
  let wake: (() => void) | undefined;
  let quit = false;
  const typed = (bytes: Buffer) => {
    if (!["q", "Q", CONTROL_C].some((key) => bytes.includes(key))) return;
    quit = true;
    wake?.();
  };
  if (keyboard.isTTY === true) {
    keyboard.setRawMode?.(true);
    keyboard.on("data", typed);
  }
  return {
    async within(ms: number): Promise<boolean> {
      if (quit) return true;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      return quit;
    },
    stop(): void {
      if (keyboard.isTTY !== true) return;
      keyboard.off("data", typed);
      keyboard.setRawMode?.(false);
      keyboard.unref?.();
    },
  };
}
