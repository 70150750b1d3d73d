/**
 * `kxgw top`: shows the status continuously, with the latest events, until q, Control-C or `count`
 * refreshes. The picture fits the terminal, also after its size changed. Without a terminal one
 * picture is written, or `count`.
 */
import { loadConfig } from "../config/load.js";
import { EXIT } from "../errors.js";
import type { Status } from "../status/status.js";
import { ago } from "../text.js";
import { coloured } from "./colour.js";
import { run, statusOf } from "./daemon.js";
import type { Output } from "./output.js";
import { statusText } from "./status.js";
import { cut, plainText } from "./table.js";

/** The alternate screen of the terminal, so that the previous content is restored. */
const ENTER = "\x1b[?1049h\x1b[?25l";
const LEAVE = "\x1b[?25h\x1b[?1049l";
const CONTROL_C = "\x03";
const HOME = "\x1b[H";
/** Erases the rest of a line, and the lines below: nothing flickers, as after an empty screen. */
const REST_OF_LINE = "\x1b[K";
const REST_OF_SCREEN = "\x1b[J";
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** Events of a picture that is not cut. */
const EVENTS = 12;
/** Of a terminal that does not say its size. */
const USUAL = { rows: 24, columns: 80 };

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

/** The terminal that is drawn on. */
export interface Screen {
  readonly rows?: number;
  readonly columns?: number;
  on(event: "resize", listener: () => void): unknown;
  off(event: "resize", listener: () => void): unknown;
}

export interface Terminal {
  readonly isTTY: boolean;
  readonly keyboard: Keyboard;
  readonly screen?: Screen;
}

/**
 * Shows the status until `count` refreshes, q, Control-C or a signal. Without a terminal it is one
 * picture, unless `count` or JSON is asked for.
 */
export async function topCommand(
  file: string,
  options: TopOptions,
  out: Output,
  env: NodeJS.ProcessEnv,
  terminal: Terminal,
): Promise<number> {
  const live = terminal.isTTY && !options.json;
  return await run(out, async () => {
    const config = loadConfig(file, env);
    const { screen, keyboard } = terminal;
    const { json, intervalMs } = options;
    const count = options.count ?? (live || json ? undefined : 1);
    let shown: Status | undefined;
    const draw = () => {
      if (shown === undefined) return;
      if (json) out.stdout(`${JSON.stringify(shown)}\n`);
      else if (!live)
        out.stdout(`${[...statusLines(shown), "", ...eventLines(shown)].join("\n")}\n`);
      else out.stdout(frame(shown, { ...USUAL, ...sizeOf(screen) }));
    };
    const quit = quitting(keyboard);
    if (live) {
      out.stdout(ENTER);
      screen?.on("resize", draw);
    }
    try {
      for (let times = 1; ; times++) {
        shown = await statusOf(config);
        draw();
        if (times === count || (await quit.within(intervalMs))) return EXIT.ok;
      }
    } finally {
      screen?.off("resize", draw);
      if (live) out.stdout(LEAVE);
      quit.stop();
    }
  });
}

function sizeOf(screen: Screen | undefined) {
  const { rows = 0, columns = 0 } = screen ?? {};
  return { ...(rows > 0 && { rows }), ...(columns > 0 && { columns }) };
}

/** One drawing: as many rows as the screen has, each cut to its width; written at once. */
export function frame(
  status: Status,
  { rows, columns }: { readonly rows: number; readonly columns: number },
): string {
  const lines = statusLines(status);
  // The last row is for the keys, and is not ended, which would scroll.
  const room = rows - 1;
  const events = eventLines(status, Math.max(room - lines.length - 1, Math.floor(rows / 4)));
  const below = events.length === 0 ? [] : ["", ...events];
  const all = [...atMost(lines, room - below.length), ...below, "q quits"].slice(-rows);
  const cuts = all.map((line) => highlighted(cut(line, columns)) + REST_OF_LINE);
  return HOME + cuts.join("\r\n") + REST_OF_SCREEN;
}

/** The first lines, and how many are left out; `room` may be negative. */
function atMost(lines: readonly string[], room: number): readonly string[] {
  if (lines.length <= room) return lines;
  const kept = Math.max(room - 1, 0);
  return [...lines.slice(0, kept), `... ${lines.length - kept} more lines`];
}

/** Colour after the cut, so that no sequence is cut. */
function highlighted(line: string): string {
  const level = /^.{12}(?:[^ ]+: )?(error|warn): /.exec(line)?.[1];
  if (level === undefined) return line;
  return coloured(level === "error" ? "red" : "yellow", line);
}

function statusLines(status: Status): string[] {
  return statusText(status).trimEnd().split("\n").map(plainText);
}

function eventLines(status: Status, most = EVENTS): string[] {
  const now = Date.parse(status.time);
  return status.recent.slice(0, most).map((report) => {
    const { time, level, neighbour, text, seq, words } = report;
    const who = neighbour === null ? "" : `${neighbour}: `;
    const mark = level === "error" || level === "warn" ? `${level}: ` : "";
    const tail = [seq === null ? "" : `#${seq}`, words ?? ""].filter((part) => part !== "");
    const what = [`${who}${mark}${text}`, ...tail].join(" ");
    return `${ago(Date.parse(time), now).padEnd(11)} ${plainText(what)}`;
  });
}

/** Waits that end early, with true, on q, Control-C or a signal, so that the screen is restored. */
function quitting(keyboard: Keyboard) {
  let wake: (() => void) | undefined;
  let quit = false;
  const end = () => {
    quit = true;
    wake?.();
  };
  const typed = (bytes: Buffer) => {
    if (["q", "Q", CONTROL_C].some((key) => bytes.includes(key))) end();
  };
  for (const signal of SIGNALS) process.on(signal, end);
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
      for (const signal of SIGNALS) process.off(signal, end);
      if (keyboard.isTTY !== true) return;
      keyboard.off("data", typed);
      keyboard.setRawMode?.(false);
      keyboard.unref?.();
    },
  };
}
