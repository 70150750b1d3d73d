/**
 * The claims of thesis 5.1 and 5.2 that this experiment can judge, each with what was found and
 * whether that bears it out. What it cannot judge (5.3, and who is told of a loss) has tests of its
 * own, which the page names.
 */
import { median, short } from "../bench/bench.js";
import type { Figures } from "./figures.js";
import { besides, type Cost, ratio, shareOfStream } from "./results.js";

export interface Claim {
  readonly section: string;
  /** The thesis's words, shortened. */
  readonly claim: string;
  readonly found: string;
  readonly holds: boolean;
}

/** An announcement of what is known may cost this share of a duplicate mail. */
const GOAL = 1000;

export function claimsOf(figures: Figures, costs: readonly Cost[]): Claim[] {
  const { outage, traced, updates, repeats, askedInVain } = figures;
  const cost = (file: string): Cost => {
    const found = costs.find((one) => one.file === file);
    if (found === undefined) throw new Error(`no figure ${file}`);
    return found;
  };
  const of = (values: readonly number[]) => short(median(values));
  const [cpu, wire, written] = [cost("cpu"), cost("wire"), cost("written")];
  const [processes, programs] = [cost("processes"), cost("programs")];
  const [connections, fsyncs] = [cost("connections"), cost("fsyncs")];
  const overKx = [...connections.kxNew, ...connections.kxKnown];
  const shares = [cpu, wire, written].map((one) => {
    return `${one.name} ${short(100 * shareOfStream(one))} %`;
  });
  const { atOnceUs } = besides(figures);
  const [oneByOne, atOnce] = [ratio(cpu.mailKnown, cpu.kxKnown), ratio(cpu.mailKnown, atOnceUs)];
  return [
    {
      section: "5.1",
      claim: "by mail, every message creates a number of processes and a TCP connection or more",
      found:
        `a new update: ${of(processes.mailNew)} processes, ${of(programs.mailNew)} programs, ` +
        `${of(connections.mailNew)} connections; a known one: ${of(processes.mailKnown)}, ` +
        `${of(programs.mailKnown)}, ${of(connections.mailKnown)}`,
      holds: median(processes.mailKnown) >= 1 && median(connections.mailKnown) >= 1,
    },
    {
      section: "5.1",
      claim: "in KX no process, and at most one TCP connection",
      found: `${of(processes.kxNew)} processes, ${Math.max(...overKx)} connections in all rounds`,
      holds: median(processes.kxNew) + median(processes.kxKnown) + Math.max(...overKx) === 0,
    },
    {
      section: "5.1",
      claim: "no disk I/O from and to spool directories",
      found:
        `written for a new update ${of(written.mailNew)} bytes by mail, ${of(written.kxNew)} ` +
        `over KX, for a known one ${of(written.mailKnown)} and ${of(written.kxKnown)}; fsyncs ` +
        `${of(fsyncs.mailNew)} and ${of(fsyncs.kxNew)}, ${of(fsyncs.mailKnown)} and ` +
        `${of(fsyncs.kxKnown)}`,
      holds: median(written.kxKnown) < 512 && traced.kxKnown.fsyncs < 0.1,
    },
    {
      section: "5.1",
      claim: "one IHAVE for each offer, and UPDATEs in the ratio of what is new, 40000 : 9000",
      found:
        `${updates + repeats} offers, ${updates} UPDATEs taken; ` +
        `${askedInVain} of the known ones were asked for`,
      holds: askedInVain === 0,
    },
    {
      section: "5.1",
      claim: "an IHAVE is smaller than a mail",
      found:
        `${of(wire.kxKnown)} bytes, in a catch-up ${of(besides(figures).atOnceBytes)}, ` +
        `for a mail's ${of(wire.mailKnown)}`,
      holds: ratio(wire.mailKnown, wire.kxKnown) > 1,
    },
    {
      section: "5.1",
      claim: "an IHAVE is much cheaper to process",
      found:
        `one by one it takes 1/${short(oneByOne)} of the CPU of a mail, ` +
        `in a catch-up 1/${short(atOnce)}`,
      holds: oneByOne > 10 && atOnce > 10,
    },
    {
      section: "goal E1",
      claim: `a known announcement costs at most 1/${GOAL} of the CPU of a duplicate mail`,
      found: `one by one 1/${short(oneByOne)}, in a catch-up 1/${short(atOnce)}`,
      holds: oneByOne >= GOAL && atOnce >= GOAL,
    },
    {
      section: "6",
      claim: "significantly less CPU, disk and network load",
      found: `the stream of 2003 over KX, of what it is by mail: ${shares.join(", ")}`,
      holds: [cpu, wire, written].every((one) => shareOfStream(one) < 0.5),
    },
    {
      section: "5.2",
      claim: "when a server is down, its neighbours' mails for it pile up",
      found: `${outage.mailsWaiting} of ${outage.updates} wait in the sender's queue`,
      holds: outage.mailsWaiting >= outage.updates,
    },
    {
      section: "5.2",
      claim: "over KX what was missed is found at the next connection and asked for again",
      found:
        `${outage.updates} of ${outage.updates} over ${outage.kxConnections} connection, ` +
        `${short(outage.kxBytes / outage.updates)} bytes each`,
      holds: outage.kxConnections === 1,
    },
  ];
}
