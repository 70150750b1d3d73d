/**
 * The notations of the configuration: durations ("72h"), retry schedules ("1m, 5m*2, 1h"),
 * rates ("100/1m", "10MiB/1h"), hours ("08:00-18:00"), sizes ("2MiB"), dates and endpoints
 * ("127.0.0.1:25", "[::1]:25"), each with its formatter. A reader returns a value or
 * an error message, and never throws. It knows no file, no key and no default. The schedule
 * notation is Haraka's `temp_fail_intervals`.
 */
import { isIPv4, isIPv6 } from "node:net";
import { plainIp } from "../ip-address.js";
import type { Rate } from "../rate.js";
import type { QuietHours, Schedule } from "../schedule.js";
import type { Endpoint } from "./config.js";
import { quoted } from "./quote.js";

/** The result of a reader: the value, or what is wrong and what to write instead. */
export type Reading<T> = { readonly value: T } | { readonly fault: string };

const DURATION_UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1000],
  ["ms", 1],
] as const;

const SIZE_UNITS = [
  ["GiB", 1024 ** 3],
  ["MiB", 1024 ** 2],
  ["KiB", 1024],
  ["GB", 1000 ** 3],
  ["MB", 1000 ** 2],
  ["kB", 1000],
  ["B", 1],
] as const;

const DAY_MS = 86_400_000;

/** Ten years: a longer duration is a typing error. */
const MAX_DURATION_MS = 3650 * DAY_MS;

/** A timer of Node cannot wait longer than 2^31 - 1 ms; with more it fires at once. */
const MAX_DELAY_MS = 24 * DAY_MS;

/** Maximum steps of a schedule; "1m*1000000000" must not fill the memory. */
const MAX_ATTEMPTS = 1000;

const DURATION_HINT = 'write a number and a unit, as "500ms", "1s", "10m", "72h" or "30d"';
const SIZE_HINT =
  'write a number and a unit, as "2MiB", "128kB" or "1GiB", or bytes without a unit';

/** "72h" -> milliseconds, at most ten years. Units: ms, s, m, h, d. */
export function parseDuration(text: string): Reading<number> {
  const match = /^(\d+)(ms|s|m|h|d)$/.exec(text);
  const unit = DURATION_UNITS.find(([name]) => name === match?.[2]);
  if (!match || !unit) return { fault: `${quoted(text)} is not a duration: ${DURATION_HINT}` };
  const ms = Number(match[1]) * unit[1];
  if (ms > MAX_DURATION_MS) return { fault: `${quoted(text)} is longer than ten years` };
  return { value: ms };
}

/** "2027-01-31" (in UTC, its first moment) or ISO 8601 with a zone -> milliseconds since 1970. */
export function parseDate(text: string): Reading<number> {
  const day = /^\d{4}-\d{2}-\d{2}/.exec(text)?.[0];
  const time = /^T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})$/;
  const rest = text.slice(day?.length);
  const isThere = day !== undefined && new Date(`${day}T00:00Z`).toJSON()?.startsWith(day);
  const value = Date.parse(rest === "" ? `${text}T00:00Z` : text);
  if (isThere && (rest === "" || time.test(rest)) && !Number.isNaN(value)) return { value };
  return { fault: `${quoted(text)} is not a date: write "2027-01-31" or "2027-01-31T12:00Z"` };
}

/** Milliseconds (a whole number) -> the shortest text that `parseDuration` reads back. */
export function formatDuration(ms: number): string {
  const unit = DURATION_UNITS.find(([, factor]) => ms % factor === 0 && ms >= factor);
  return unit ? `${ms / unit[1]}${unit[0]}` : `${ms}ms`;
}

/** "1m, 5m*2, 1h" -> one delay in milliseconds an attempt; `*n` repeats. At most 1000 of them. */
export function parseSchedule(text: string): Reading<Schedule> {
  const delays: number[] = [];
  for (const part of text.split(",")) {
    const match = /^\s*([^\s*]+)(?:\s*\*\s*(\d+))?\s*$/.exec(part);
    if (!match) {
      return {
        fault: `${quoted(part.trim())} is not a step of a schedule: write "1m, 5m*2, 1h"`,
      };
    }
    const reading = parseDuration(match[1] ?? "");
    if ("fault" in reading) return reading;
    if (reading.value === 0) return { fault: "the delays of a schedule are at least 1ms" };
    if (reading.value > MAX_DELAY_MS) return { fault: "the delays of a schedule are at most 24d" };
    const times = Number(match[2] ?? 1);
    if (times < 1) return { fault: `${quoted(part.trim())} has no repetition: write "*1" or more` };
    if (delays.length + times > MAX_ATTEMPTS) {
      return { fault: `a schedule has at most ${MAX_ATTEMPTS} steps; the last one repeats anyway` };
    }
    for (let i = 0; i < times; i++) delays.push(reading.value);
  }
  const [first, ...rest] = delays;
  return first === undefined ? { fault: "the schedule is empty" } : { value: [first, ...rest] };
}

/** "100/1m" -> a count per period of at least 1ms and at most a day. */
export function parseRate(text: string): Reading<Rate> {
  const match = /^(\d{1,9})\s*\/\s*(\S+)$/.exec(text);
  if (!match) {
    return { fault: `${quoted(text)} is not a rate: write a number and a period, as "100/1m"` };
  }
  const period = parseDuration(match[2] ?? "");
  if ("fault" in period) return period;
  const count = Number(match[1]);
  if (count < 1) return { fault: `${quoted(text)} allows nothing: write 1 or more` };
  if (period.value < 1) return { fault: "the period of a rate is at least 1ms" };
  if (period.value > DAY_MS) return { fault: "the period of a rate is at most 1d" };
  return { value: { count, periodMs: period.value } };
}

/** Rate -> "100/1m". */
export function formatRate({ count, periodMs }: Rate): string {
  return `${count}/${formatDuration(periodMs)}`;
}

/** "10MiB/1h" -> bytes, at least 1kB, per period of at least 1s and at most a day. */
export function parseByteRate(text: string): Reading<Rate> {
  const [, bytes = "", time = ""] = /^([^/]*\S)\s*\/\s*(\S+)$/.exec(text) ?? [];
  if (bytes === "") {
    return {
      fault: `${quoted(text)} is not a byte rate: write a size and a period, as "10MiB/1h"`,
    };
  }
  const size = parseSize(bytes);
  if ("fault" in size) return size;
  const period = parseDuration(time);
  if ("fault" in period) return period;
  if (size.value < 1000) return { fault: "a byte rate is at least 1kB, which an update needs" };
  if (period.value < 1000) return { fault: "the period of a byte rate is at least 1s" };
  if (period.value > DAY_MS) return { fault: "the period of a byte rate is at most 1d" };
  return { value: { count: size.value, periodMs: period.value } };
}

/** "08:00-18:00", "22:00-06:00" (over midnight) -> a part of the day in UTC. */
export function parseHours(text: string): Reading<QuietHours> {
  const match = /^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)$/.exec(text);
  if (!match) {
    const hint = 'write two times of the day in UTC, as "08:00-18:00" or "22:00-06:00"';
    return { fault: `${quoted(text)} is not a part of a day: ${hint}` };
  }
  const [fromHour, fromMinute, toHour, toMinute] = match.slice(1).map(Number);
  const fromMs = minutes(fromHour, fromMinute) * 60_000;
  const toMs = minutes(toHour, toMinute) * 60_000;
  if (fromMs !== toMs) return { value: { fromMs, toMs } };
  return { fault: `${quoted(text)} begins and ends at the same time: write two different times` };
}

function minutes(hour = 0, minute = 0): number {
  return hour * 60 + minute;
}

/** "2MiB", "128kB", "131072" -> bytes, at least 1. Units: B, kB, MB, GB, KiB, MiB, GiB. */
export function parseSize(text: string): Reading<number> {
  const match = /^(\d+) ?([A-Za-z]+)?$/.exec(text);
  const unit = SIZE_UNITS.find(([name]) => name === (match?.[2] ?? "B"));
  if (!match || !unit) return { fault: `${quoted(text)} is not a size: ${SIZE_HINT}` };
  const bytes = Number(match[1]) * unit[1];
  if (bytes < 1) return { fault: "a size is at least one byte" };
  if (!Number.isSafeInteger(bytes)) return { fault: `${quoted(text)} is too large for a size` };
  return { value: bytes };
}

/** Bytes -> the largest unit that divides them, as `parseSize` reads it back. */
export function formatSize(bytes: number): string {
  const unit = SIZE_UNITS.find(([, factor]) => bytes % factor === 0 && bytes >= factor);
  return unit && unit[1] > 1 ? `${bytes / unit[1]}${unit[0]}` : String(bytes);
}

/** Whether `text` can be the name of a host: LDH labels (and "_"), the last one not a number. */
export function isHostname(text: string): boolean {
  if (text.length > 253 || /(^|\.)\d+$/.test(text)) return false;
  return text.split(".").every((label) => /^(?!-)[A-Za-z0-9_-]{1,63}(?<!-)$/.test(label));
}

/**
 * "host:port" or "[v6]:port" -> Endpoint, port 0-65535; the host is a name as it is written or an
 * IP address in the spelling of `ip-address.ts`.
 */
export function parseEndpoint(text: string): Reading<Endpoint> {
  const match = /^(?:\[([^[\]]*)\]|([^[\]]*)):(\d{1,5})$/.exec(text);
  if (!match) {
    const hint = isIPv6(text)
      ? 'write an IPv6 address in brackets: "[::1]:25"'
      : 'write host:port, as "127.0.0.1:25" or "[::1]:25"';
    return { fault: `${quoted(text)} has no address and port: ${hint}` };
  }
  const port = Number(match[3]);
  if (port > 65_535) return { fault: `${quoted(text)}: a port is a number from 0 to 65535` };
  const [, bracketed, plain = ""] = match;
  if (bracketed !== undefined) {
    const host = isIPv6(bracketed) ? plainIp(bracketed) : undefined;
    if (host === undefined) {
      return { fault: `${quoted(text)}: only an IPv6 address is written in brackets` };
    }
    const fault = zoneFault(host);
    return fault === undefined ? { value: { host, port } } : { fault: `${quoted(text)} ${fault}` };
  }
  if (isIPv4(plain) || isHostname(plain)) return { value: { host: plain, port } };
  if (plain.includes(":")) {
    return { fault: `${quoted(text)}: write an IPv6 address in brackets: "[::1]:25"` };
  }
  if (plain === "" || plain === "*") {
    return { fault: `${quoted(text)} has no address: write 0.0.0.0 or [::] for all addresses` };
  }
  return { fault: `${quoted(text)}: ${quoted(plain)} is neither an IP address nor a host name` };
}

/** Endpoint -> "host:port" or "[v6]:port". */
export function formatEndpoint({ host, port }: Endpoint): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * The error in the zone of an address, or undefined. A link-local address means a host on one
 * interface only (RFC 4007), so a socket needs the interface, and reports it with a peer.
 */
export function zoneFault(address: string): string | undefined {
  const isLinkLocal = /^fe[89ab].:/.test(address);
  const [, zone] = address.split("%");
  if (!isLinkLocal && zone === undefined) return undefined;
  if (!isLinkLocal) return 'has a zone, which is for link-local addresses only: remove the "%"';
  if (zone !== undefined && !/^\d*$/.test(zone)) return undefined;
  return "is link-local: append the name of the interface, as fe80::1%eth0";
}
