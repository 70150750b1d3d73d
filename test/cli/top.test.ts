/** The picture of `kxgw top`: it fits every terminal, whatever neighbours say, and ends clean. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { afterEach, expect, it, vi } from "vitest";
import { statusOf } from "../../src/cli/daemon.js";
import { columnsOf, cut } from "../../src/cli/table.js";
import { frame } from "../../src/cli/top.js";
import { loadConfig } from "../../src/config/load.js";
import type { Status } from "../../src/status/status.js";
import { HEAD, startGateway } from "../admin/gateway.js";
import { scratch } from "../support/scratch.js";
import { onTerminal } from "./terminal.js";

afterEach(() => void vi.unstubAllEnvs());

/** A gateway with many neighbours, and events with wide text and a try to control the terminal. */
async function status(): Promise<{ readonly status: Status; readonly file: string }> {
  const peers = Array.from({ length: 30 }, (_, n) => {
    return `[[peer]]\nname = "neighbour-${n}"\nkx = "192.0.2.${n + 1}:11373"\n`;
  });
  const text = `${HEAD}[kx]\nlisten = ["127.0.0.1:0"]\n${peers.join("")}`;
  const directory = scratch();
  const file = join(directory, "kxgw.toml");
  writeFileSync(file, text);
  await startGateway(text, { directory });
  const real = await statusOf(loadConfig(file, {}));
  const report = {
    ...{ time: real.time, event: "retry", level: "warn", neighbour: "neighbour-1" },
    ...{ text: "失敗しました ".repeat(30), seq: 7, words: "\x1b[2J\x1b[31m👩‍👩‍👧 é ".repeat(20) },
  };
  const recent = Array.from({ length: 100 }, () => report) as unknown as Status["recent"];
  return { status: { ...real, recent } as Status, file };
}

it("fits the terminal: rows, columns, no cut sequence, nothing that controls it", async () => {
  vi.stubEnv("FORCE_COLOR", "1");
  const { status: shown } = await status();
  for (const [columns, rows] of [
    ...[
      [80, 24],
      [40, 10],
      [200, 60],
      [20, 3],
      [10, 1],
      [500, 300],
    ],
  ] as [number, number][]) {
    const picture = frame(shown, { rows, columns });
    expect(picture.startsWith("\x1b[H")).toBe(true);
    expect(picture.endsWith("\x1b[J")).toBe(true);
    // Only what the program itself writes: home, erase, and whole colours.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are the subject
    expect(picture.replace(/\x1b\[(?:H|J|K|33m|39m)/g, "")).not.toContain("\x1b");
    const lines = stripVTControlCharacters(picture).split("\r\n");
    expect(lines.length, `${columns}x${rows}`).toBeLessThanOrEqual(rows);
    for (const line of lines) expect(columnsOf(line), line).toBeLessThanOrEqual(columns);
    expect(lines.at(-1)).toBe("q quits");
    if (rows < 10) continue;
    // Events have a quarter of the rows at least, and what is left out is said.
    expect(lines.filter((line) => line.includes("neighbour-1: warn: 失敗")).length).toBe(
      rows === 300 ? 100 : Math.floor(rows / 4),
    );
    expect(picture).toContain("\x1b[33m");
    if (rows < 300) expect(lines).toHaveLength(rows);
    expect(lines.some((line) => /^\.\.\. \d+ more lines$/.test(line))).toBe(rows < 300);
  }
  vi.stubEnv("FORCE_COLOR", undefined);
  vi.stubEnv("NO_COLOR", "1");
  expect(frame(shown, { rows: 60, columns: 200 })).not.toContain("\x1b[33m");
});

it.each([
  ["abc", 3, "abc"],
  ["abcd", 3, "ab…"],
  ["日本語", 6, "日本語"],
  ["日本語", 5, "日本…"],
  ["日本語", 4, "日…"],
  ["e\u0301e\u0301e\u0301", 2, "e\u0301…"],
  ["abc", 1, "…"],
  ["abc", 0, ""],
])("cuts %j to %i columns", (text, columns, wanted) => {
  expect(cut(text, columns)).toBe(wanted);
  expect(columnsOf(wanted)).toBeLessThanOrEqual(columns);
});

it.each(["q", "\x03"])("on a terminal: %j restores cursor and screen", async (key) => {
  const { file } = await status();
  const size = { rows: 12, columns: 60 };
  const { code, raw, left } = await onTerminal(
    ["top", "-c", file],
    scratch(),
    [[/q quits/, key]],
    size,
  );
  expect([code, left]).toEqual([0, []]);
  expect(raw.startsWith("\x1b[?1049h\x1b[?25l\x1b[H")).toBe(true);
  expect(raw.endsWith("\x1b[?25h\x1b[?1049l")).toBe(true);
  const [picture = ""] = raw.split("\x1b[H").slice(1);
  expect(picture.split("\r\n").length).toBeLessThanOrEqual(12);
});
