/**
 * The same world in the real engine: real exchanges over real logs, joined by pipes, without loss.
 * What they said is counted from the bytes, so that the counted model can be held against it.
 */

import type { Update } from "../../../src/update.js";
import { MINUTE_MS, Network } from "../../peering/network.js";
import type { KxCounts } from "./measure.js";
import type { Topology } from "./topology.js";

export interface Engine extends KxCounts {
  /** Octets after the greetings, until a minute after the last news. */
  readonly bytes: number;
  /** Whether every server has every update. */
  readonly isComplete: boolean;
}

const LINE = /^\d+ [0-9A-F]{40} [0-9a-f]{32}\r\n/gm;

/** Runs it: update n is born at `births[n]`. */
export function runEngine(
  { neighbours }: Topology,
  births: readonly { readonly at: number; readonly server: number; readonly update: Update }[],
  seed: number,
): Engine {
  const network = new Network(seed);
  const names = neighbours.map((_, n) => `g${n}`);
  const gateways = neighbours.map((others, n) => {
    const gateway = network.gateway(
      names[n] ?? "",
      others.map((other) => names[other] ?? ""),
    );
    // The model, and the figures made with it, are of the protocol of the thesis.
    gateway.version = "1.0";
    gateway.restart();
    return gateway;
  });
  for (const [n, others] of neighbours.entries()) {
    for (const other of others) {
      const [from, to] = [gateways[n], gateways[other]];
      if (n < other && from !== undefined && to !== undefined) network.connect(from, to);
    }
  }
  network.run(10_000);
  const start = network.now;
  const greetings = network.links.flatMap(({ pipes }) => pipes.map(({ said }) => said.length));
  for (const { at, server, update } of births) {
    network.run(Math.max(0, start + at - network.now));
    gateways[server]?.mail(update);
  }
  network.run(2 * MINUTE_MS);
  const said = network.links
    .flatMap(({ pipes }) => pipes)
    .map((pipe, n) => pipe.said.slice(greetings[n]));
  const all = said.join("");
  const count = (pattern: RegExp) => all.match(pattern)?.length ?? 0;
  const updates = count(/\r\nUPDATE\r\n/g);
  return {
    bytes: all.length,
    notices: count(/\r\nIHAVE\r\nNOTIFY\r\n/g),
    lines: count(LINE) - updates,
    gets: count(/\r\nGETUPDATE\r\n/g),
    updates,
    isComplete: gateways.every((gateway) => new Set(gateway.hashes()).size === births.length),
  };
}
