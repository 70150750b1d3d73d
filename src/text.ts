/**
 * Numbers as text: "6 min", "1.2 MB", "14 updates". The page and the commands use the same
 * functions, so that they agree. English and without a locale, so the text is the same on
 * every host.
 */
import type { Transport } from "./update.js";

const SPANS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1000],
] as const;

/** A duration in its largest unit: "6 min". Below a second, and for negative values, "0 s". */
export function span(ms: number): string {
  for (const [unit, size] of SPANS) {
    if (ms >= size) return `${Math.floor(ms / size)} ${unit}`;
  }
  return "0 s";
}

/** A time in the past relative to `now`, "never" for 0: "6 min ago". */
export function ago(at: number, now: number): string {
  if (at === 0) return "never";
  return now - at < 1000 ? "now" : `${span(now - at)} ago`;
}

/** A time in the future relative to `now`: "in 6 min". */
export function ahead(at: number, now: number): string {
  return at - now < 1000 ? "now" : `in ${span(at - now)}`;
}

/** "14 updates", "1 update". */
export function several(count: number, noun: string): string {
  return `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** 1234567 as "1 234 567", as SI writes it. */
export function grouped(count: number): string {
  return String(Math.round(count)).replace(/\B(?=(\d{3})+$)/g, " ");
}

/** 1234567 as "1.2 MB". */
export function octets(count: number): string {
  let value = count;
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (value < 1000) return `${unit === "B" ? value : value.toFixed(1)} ${unit}`;
    value /= 1000;
  }
  return `${value.toFixed(1)} TB`;
}

/** 0.9871 as "98.7 %"; whole numbers without a fraction. */
export function percent(share: number): string {
  return `${(share * 100).toFixed(1).replace(/\.0$/, "")} %`;
}

const RECEIVED_BY = {
  mail: "by mail",
  kx: "by KX",
  hkp: "by HKP",
  repair: "by repair of a lost update",
  import: "by kxgw import",
  recon: "by recon",
} as const satisfies Record<Transport, string>;

/** How an update was received: "by mail". */
export function cameBy(transport: Transport): string {
  return RECEIVED_BY[transport];
}

/** "a", "a and b", "a, b and c". */
export function listed(names: readonly string[]): string {
  if (names.length < 2) return names.join("");
  return `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}
