/**
 * How planted faults of the conformance suite change messages of text: those of the gateway, and
 * what the tester sends.
 */
import type { Fault, Talk } from "./faulty-proxy.js";

export const NL = "\r\n";
export const END = `${NL}.${NL}`;

/** A message, with `|` for its line ends and without the dot. */
export function message(text: string): string {
  return `${text.replaceAll("|", NL)}${NL}.${NL}`;
}

export function linesOf(text: string): string[] {
  return text.split(NL).slice(0, -2);
}

export function textOf(lines: readonly string[]): string {
  return `${lines.join(NL)}${NL}.${NL}`;
}

/** Changes the lines of the gateway's messages of one command: tag, command and data. */
export function saying(
  command: string,
  change: (lines: string[], talk: Talk) => readonly string[] | undefined,
): Pick<Fault, "says"> {
  return {
    says: (text, talk) => {
      const lines = linesOf(text);
      if (lines[1] !== command) return text;
      const changed = change(lines, talk);
      return changed === undefined ? "" : textOf(changed);
    },
  };
}

/** Changes the lines of what the tester sends, where it is whole messages of a command. */
export function hearing(
  command: string,
  change: (lines: string[], talk: Talk) => readonly string[] | undefined,
): Pick<Fault, "hears"> {
  return {
    hears: (text, talk) => {
      const pieces = text.split(END);
      const rest = pieces.pop() ?? "";
      const heard = pieces.map((piece) => {
        const lines = piece.split(NL);
        if (lines[1] !== command) return piece + END;
        const changed = change(lines, talk);
        return changed === undefined ? "" : textOf(changed);
      });
      return heard.join("") + rest;
    },
  };
}

/** A listing, not a notice. */
export function listing(change: (lines: string[]) => string[]): Pick<Fault, "says"> {
  return saying("IHAVE", ([tag = "", command = "", first = "", ...lines]) => {
    return [tag, command, first, ...(first === "NOTIFY" ? lines : change(lines))];
  });
}
