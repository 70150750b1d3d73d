/**
 * The figures of docs/operations.md about the size of the log, measured: updates of two lengths,
 * with and without a record of deliveries, in a log on disk.
 * Each figure has to be within a fifth of what the page says; a failure prints what was measured.
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { UpdateLog } from "../src/log/update-log.js";
import type { Seq } from "../src/update.js";
import { page } from "./support/page.js";
import { scratch } from "./support/scratch.js";
import { made } from "./torture/material.js";

const COUNT = 4000;
const BATCH = 100;
const REPLY = "250 2.0.0 Ok: queued as 4bXk3R1fQ2z9rT";

interface Measured {
  readonly perUpdate: number;
  readonly body: number;
  readonly walBytes: number;
}

/** From 0 to 2, evenly: bodies of one length would fill pages by chance well or badly. */
function spread(n: number): number {
  return ((n * 37) % 100) / 50;
}

/**
 * Bytes of the log for an update: its signature has `filler` octets on average, and `sites` took
 * it.
 */
function measured(filler: number, sites: number): Measured {
  const path = join(scratch(), "updates.db");
  const log = UpdateLog.open(path);
  const empty = log.counts().fileBytes;
  let wal = 0;
  for (let first = 0; first < COUNT; first += BATCH) {
    const numbers = Array.from({ length: BATCH }, (_, index) => first + index);
    const receivedAt = Date.UTC(2026, 10, 29) + first;
    log.append(
      numbers.map((n) => {
        const { update } = made("size", n, Math.round(filler * spread(n)));
        return {
          update,
          origin: { neighbour: "oldpks", transport: "mail" },
          trail: ["pgp-public-keys@pks.example.net"],
          messageId: `<20261129.${n}@pks.example.net>`,
          receivedAt,
        };
      }),
    );
    const sent = numbers.flatMap((n) =>
      Array.from({ length: sites }, (_, site) => {
        const about = { way: "lane" as const, at: receivedAt, how: "relayed", reply: REPLY };
        return { ...about, neighbour: `site-${site}`, seq: (n + 1) as Seq };
      }),
    );
    if (sites > 0) log.sendings.note(sent);
    wal = Math.max(wal, statSync(`${path}-wal`).size);
  }
  const { bodyBytes } = log.counts();
  log.close();
  const perUpdate = (statSync(path).size - empty) / COUNT;
  return { perUpdate, body: bodyBytes / COUNT, walBytes: wal };
}

/** The figure at the place of `N` in a sentence of docs/operations.md, which may be broken. */
function documented(sentence: string): number {
  const pattern = new RegExp(sentence.replaceAll(" ", "\\s+").replace("N", "([\\d.,]+)"));
  const [, figure = ""] = pattern.exec(page("operations.md")) ?? [];
  expect(figure, sentence).not.toBe("");
  return Number(figure.replaceAll(",", ""));
}

/** Within a fifth of what is documented. */
function expectNear(figure: number, sentence: string): void {
  const wanted = documented(sentence);
  expect(Math.abs(figure - wanted) / wanted, `${sentence}: ${figure}`).toBeLessThan(0.2);
}

it("the log takes what docs/operations.md says", { timeout: 60_000 }, () => {
  const short = measured(100, 0);
  const long = measured(2000, 0);
  const sent = measured(100, 5);
  const perByte = (long.perUpdate - short.perUpdate) / (long.body - short.body);
  const entry = short.perUpdate - perByte * short.body;
  const delivery = (sent.perUpdate - short.perUpdate) / 5;
  const wal = Math.max(...[short, long, sent].map(({ walBytes }) => walBytes)) / 2 ** 20;
  expectNear(entry, "An entry takes N octets");
  expectNear(perByte, "an octet of a body N octets");
  expectNear(delivery, "a record of a delivery N octets");
  expectNear(wal, "WAL grows to N MiB");
});

it("its table follows from these figures", () => {
  const entry = documented("An entry takes N octets");
  const perByte = documented("an octet of a body N octets");
  const delivery = documented("a record of a delivery N octets");
  const [remember, retain, neighbours, body] = [30, 4, 5, 2000];
  const of = (updates: number, days: number) =>
    updates * (days * (entry + neighbours * delivery) + retain * perByte * body);
  const rows = [
    ...page("operations.md").matchAll(/^ *\| ([\d,]+) \| ([\d,]+) MB \| ([\d,]+) MB \|$/gm),
  ];
  const number = (text = "") => Number(text.replaceAll(",", ""));
  expect(rows).toHaveLength(3);
  for (const [row, updates, usual, short] of rows) {
    const bytes = [of(number(updates), remember), of(number(updates), 7)];
    const shown = [number(usual), number(short)];
    for (const [index, figure] of bytes.entries()) {
      expect(Math.abs(figure / 1e6 / (shown[index] ?? 0) - 1), row).toBeLessThan(0.1);
    }
  }
});
