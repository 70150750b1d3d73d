/**
 * Records what a built checkout does, into a directory of text files that diff.ts compares. Only
 * what users and other programs see is used: the built program, its HTTP pages, its SQLite file,
 * its mails, its exit codes and `npm run simulate`. So a checkout may have any layout. The inputs
 * are the fixtures of the checkout that holds this file, for both records the same.
 */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Kind } from "./diff.js";
import { exitCodes } from "./exits.js";
import { schemas } from "./schema.js";
import { traces } from "./simulation.js";
import { type Observed, observe } from "./traffic.js";

export interface RecordOptions {
  /** How many simulated worlds, and from which seed on. */
  readonly seeds: number;
  readonly from: number;
  readonly isSmall: boolean;
  readonly kinds: readonly Kind[];
  readonly say: (text: string) => void;
}

const OF_TRAFFIC: readonly Kind[] = ["metrics", "status", "mails", "answers"];

export async function record(
  checkout: string,
  directory: string,
  options: RecordOptions,
): Promise<void> {
  const { kinds, say } = options;
  const scratch = mkdtempSync(join(tmpdir(), "kxgw-record-"));
  const write = (kind: Kind, lines: readonly string[]) => {
    writeFileSync(join(directory, kind), `${lines.join("\n")}\n`, "latin1");
    say(`${kind}: ${lines.length} lines`);
  };
  try {
    if (kinds.includes("events")) {
      copyFileSync(join(checkout, "docs/events.md"), join(directory, "events"));
    }
    const traffic = async () => {
      if (!kinds.some((kind) => OF_TRAFFIC.includes(kind))) return;
      const seen = await observe(checkout, place(scratch, "traffic"));
      for (const kind of ["metrics", "status", "answers"] as const) {
        if (kinds.includes(kind)) write(kind, seen[kind]);
      }
      if (kinds.includes("mails")) writeMails(directory, seen, say);
    };
    const exits = async () => {
      if (kinds.includes("exits")) write("exits", await exitCodes(checkout, place(scratch, "run")));
    };
    const schema = async () => {
      if (kinds.includes("schema")) write("schema", await schemas(checkout, place(scratch, "log")));
    };
    // Each waits for processes of its own most of the time.
    await Promise.all([traffic(), exits(), schema()]);
    if (kinds.includes("simulation") && options.seeds > 0) {
      write("simulation", await traces(checkout, options));
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function place(root: string, name: string): string {
  const directory = join(root, name);
  mkdirSync(directory);
  return directory;
}

function writeMails(directory: string, { mails }: Observed, say: RecordOptions["say"]): void {
  for (const [receiver, texts] of mails) {
    const folder = join(directory, "mails", receiver);
    mkdirSync(folder, { recursive: true });
    for (const [index, text] of texts.entries()) {
      writeFileSync(join(folder, `${String(index + 1).padStart(3, "0")}.eml`), text, "latin1");
    }
    say(`mails: ${texts.length} for ${receiver}`);
  }
}
