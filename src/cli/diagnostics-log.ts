/**
 * Writes diagnostics as lines to stdout, in the format that the reader needs: JSON by pino, one
 * object per event, for a file or a pipe; short text with a priority for the journal, so that
 * `journalctl -p warning` works; the same text with the time and colours on a terminal. `event` is
 * the stable name, `msg` its text.
 *
 * Text from outside is cut, so that one field cannot fill the log, and contains no
 * control character. A `client`, who may be a person, is shortened to its network. An `address` is
 * one that the operator has to write into the configuration, and is shown in full
 * (docs/security.md).
 *
 * The lines about updates that are written to stdout in one turn of the event loop are one write:
 * a commit of 64 updates reports each of them (`gathered-lines.ts`).
 */
import { fstatSync, writeSync } from "node:fs";
import type { DestinationStream } from "pino";
import { pino } from "pino";
import type { EventName, EventSink, Fields, Level } from "../diagnostics.js";
import { EVENTS, kindOf } from "../diagnostics.js";
import { clientNetwork } from "../ip-address.js";
import { coloured, type Style } from "./colour.js";
import { GatheredLines } from "./gathered-lines.js";

/** The format of lines. */
export type LogForm = "json" | "journal" | "terminal";

/** Bytes that wait for a disk with room. */
const MOST_UNWRITTEN = 1024 * 1024;
const FIELD_CHARS = 500;
/** Controls that JSON does not escape: DEL, C1, line ends, and bidirectional controls. */
const OBEYED = /[\x7f-\x9f\u2028-\u202e\u2066-\u2069]/;
const ALL_OBEYED = new RegExp(OBEYED, "g");
/** The field with the address of a client that may be a person. */
const CLIENT_FIELD = "client";
const RANK: Record<Level, number> = { error: 3, warn: 2, info: 1, debug: 0 };
/** syslog(3): err, warning, info, debug. */
const PRIORITY: Record<Level, number> = { error: 3, warn: 4, info: 6, debug: 7 };
const COLOUR: Record<Level, Style> = {
  ...{ error: ["red", "bold"], warn: "yellow", info: "green", debug: "dim" },
};

/**
 * Writes events of `level` and above to `destination`, by default stdout. The default format
 * depends on stdout, and is JSON for any other destination.
 */
export function diagnosticsLog(
  level: Level,
  destination?: DestinationStream,
  form: LogForm = destination === undefined ? formOf(process.env, 1) : "json",
): EventSink {
  if (destination !== undefined) return linesTo(destination, level, form);
  // pino's own stream goes on without a reader; process.stdout ends the process (`main.ts`).
  const stdout = form === "json" ? lastingStdout() : process.stdout;
  const gathered = new GatheredLines((text) => void stdout.write(text));
  process.on("exit", () => gathered.flush());
  const sink = linesTo(gathered, level, form);
  return {
    report(event, fields = {}) {
      sink.report(event, fields);
      const { level: at, direction } = kindOf(event);
      if (direction === undefined || RANK[at] > RANK.info) gathered.flush();
    },
  };
}

/** Stdout that may be a file on a full disk: what cannot be written is kept, and then lost. */
function lastingStdout() {
  const stdout = pino.destination({ dest: 1, sync: true, maxLength: MOST_UNWRITTEN });
  let isTold = false;
  stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (isTold) return;
    isTold = true;
    const { code = error.message } = error;
    try {
      writeSync(2, `kxgw: events cannot be written to stdout (${code}); some will be lost\n`);
    } catch {
      // Stderr is on the same disk.
    }
  });
  return stdout;
}

function linesTo(destination: DestinationStream, level: Level, form: LogForm): EventSink {
  if (form === "json") return jsonLog(level, destination);
  const write = (line: string) => void destination.write(line);
  return {
    report(event, fields = {}) {
      const at = EVENTS[event].level;
      if (RANK[at] < RANK[level]) return;
      const text = lineOf(event, trimmed(fields));
      if (form === "journal") return write(`<${PRIORITY[at]}>${text}\n`);
      const time = new Date().toTimeString().slice(0, 8);
      write(`${coloured("dim", time)} ${coloured(COLOUR[at], at.padEnd(5))} ${text}\n`);
    },
  };
}

/**
 * The format for a file descriptor: that of the journal if it is the stream that systemd names in
 * $JOURNAL_STREAM (which every child of a service inherits), that of a terminal on a terminal.
 */
export function formOf(env: NodeJS.ProcessEnv, descriptor: number): LogForm {
  const stream = env.JOURNAL_STREAM;
  if (stream !== undefined && stream !== "") {
    const { dev, ino } = fstatSync(descriptor, { bigint: true });
    if (stream === `${dev}:${ino}`) return "journal";
  }
  return descriptor === 1 && process.stdout.isTTY === true ? "terminal" : "json";
}

function jsonLog(level: Level, destination: DestinationStream): EventSink {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  const logger = pino(options, destination);
  return {
    report(event, fields = {}) {
      const { level: at, text } = EVENTS[event];
      logger[at]({ event, ...trimmed(fields) }, text);
    },
  };
}

function trimmed(fields: Fields): Fields {
  const short: Record<string, Fields[string]> = {};
  for (const [key, value] of Object.entries(fields)) {
    if (typeof value === "object") short[key] = value.map(shortText);
    else if (typeof value !== "string") short[key] = value;
    else short[key] = shortText(key === CLIENT_FIELD ? clientNetwork(value) : value);
  }
  return short;
}

function shortText(text: string): string {
  const short = text.length > FIELD_CHARS ? `${text.slice(0, FIELD_CHARS)}...` : text;
  return OBEYED.test(short) ? short.replaceAll(ALL_OBEYED, "\ufffd") : short;
}

/** "accepted: update accepted; seq=1 hash=... neighbour=old". */
function lineOf(event: EventName, fields: Fields): string {
  const pairs = Object.entries(fields).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}=${plainValue(value)}`],
  );
  const tail = pairs.length === 0 ? "" : `; ${pairs.join(" ")}`;
  return `${event}: ${EVENTS[event].text}${tail}`;
}

function plainValue(value: NonNullable<Fields[string]>): string {
  const text = typeof value === "object" ? value.join(",") : String(value);
  return /^[\x21-\x7e]+$/.test(text) && !text.includes('"') ? text : JSON.stringify(text);
}
