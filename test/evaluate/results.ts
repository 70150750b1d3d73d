/**
 * What the rounds and the traces come to: one table of costs, each with its median over the rounds,
 * and from it what the stream of 2003 would cost by either road. Knows no page and no chart.
 */
import { median } from "../bench/bench.js";
import type { Figures, Round } from "./figures.js";
import { OFFERS } from "./material.js";
import type { Sample } from "./sample.js";

/** Cost of one new update and of one offer of a known one, by each road. */
export interface Cost {
  readonly name: string;
  readonly unit: string;
  /** In charts and in words for the stream: "CPU". */
  readonly file: string;
  readonly mailNew: readonly number[];
  readonly kxNew: readonly number[];
  /** The gateway before it, which took the update by mail. */
  readonly firstNew: readonly number[];
  readonly mailKnown: readonly number[];
  readonly kxKnown: readonly number[];
}

export function costsOf({ rounds, traced }: Figures): Cost[] {
  const of = (key: keyof Sample) => {
    const pick = (which: Exclude<keyof Round, "kxIdleUs">) => rounds.map((one) => one[which][key]);
    return {
      mailNew: pick("mailNew"),
      kxNew: pick("kxNew"),
      firstNew: pick("firstNew"),
      mailKnown: pick("mailKnown"),
      kxKnown: pick("kxKnown"),
    };
  };
  const call = (key: "processes" | "programs" | "fsyncs") => ({
    mailNew: [traced.mailNew[key]],
    kxNew: [traced.kxNew[key]],
    firstNew: [traced.firstNew[key]],
    mailKnown: [traced.mailKnown[key]],
    kxKnown: [traced.kxKnown[key]],
  });
  return [
    { name: "CPU", unit: "us", file: "cpu", ...of("cpuUs") },
    { name: "processes started", unit: "", file: "processes", ...call("processes") },
    { name: "programs executed", unit: "", file: "programs", ...call("programs") },
    { name: "TCP connections", unit: "", file: "connections", ...of("connections") },
    { name: "bytes on the wire", unit: "bytes", file: "wire", ...of("wireBytes") },
    { name: "bytes written to disk", unit: "bytes", file: "written", ...of("writtenBytes") },
    { name: "fsyncs", unit: "", file: "fsyncs", ...call("fsyncs") },
  ];
}

/** The stream of thesis 5.1 over KX, as a share of what it costs by mail; 0 to 1. */
export function shareOfStream({ mailNew, mailKnown, kxNew, kxKnown }: Cost): number {
  const known = OFFERS.incoming - OFFERS.fresh;
  const total = (fresh: readonly number[], repeated: readonly number[]) =>
    OFFERS.fresh * median(fresh) + known * median(repeated);
  return total(kxNew, kxKnown) / total(mailNew, mailKnown);
}

/** How often the cost over KX goes into that by mail, round by round; Infinity for nothing. */
export function ratio(mail: readonly number[], kx: readonly number[]): number {
  return median(mail.map((value, n) => (kx[n] === 0 ? Infinity : value / (kx[n] ?? value))));
}

/** CPU of a known announcement in a burst, and of a second of doing nothing. */
export function besides({ rounds }: Figures) {
  return {
    atOnceUs: rounds.map(({ kxKnownAtOnce }) => kxKnownAtOnce.cpuUs),
    atOnceBytes: rounds.map(({ kxKnownAtOnce }) => kxKnownAtOnce.wireBytes),
    idleUs: rounds.map(({ kxIdleUs }) => kxIdleUs),
  };
}
