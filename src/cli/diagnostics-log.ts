/**
 * Diagnostics as pino JSON lines on stdout, one an event: `event` is the stable name, `msg` its
 * sentence. Text that came from outside is cut, so that nobody fills the log with one field;
 * control characters are escaped by JSON itself.
 */
import type { DestinationStream } from "pino";
import { pino } from "pino";
import type { Diagnostics, Level } from "../diagnostics.js";
import { EVENTS } from "../diagnostics.js";

const FIELD_CHARS = 500;

/** Writes events of `level` and above to `destination`, stdout when there is none. */
export function diagnosticsLog(level: Level, destination?: DestinationStream): Diagnostics {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  const logger = destination === undefined ? pino(options) : pino(options, destination);
  return {
    report(event, fields = {}) {
      const { level: at, text } = EVENTS[event];
      const cut = Object.entries(fields).map(([key, value]) => [
        key,
        typeof value === "string" && value.length > FIELD_CHARS
          ? `${value.slice(0, FIELD_CHARS)}...`
          : value,
      ]);
      logger[at]({ event, ...Object.fromEntries(cut) }, text);
    },
  };
}
