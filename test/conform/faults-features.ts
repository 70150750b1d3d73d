/**
 * Planted faults of the features of KX/1.1, for the conformance suite: `sha256`, `octets` and
 * `reconcile`. Messages of octets are changed as Latin-1 text, with the length in their command.
 */
import type { Fault } from "./faulty-proxy.js";
import { hearing, message, NL, saying, textOf } from "./faulty-talk.js";

/** A message of octets: tag, command, its lengths, the first data line, and the octets. */
const COUNTED = /^(.{4})\r\n(IHAVE|UPDATE) (\d+)( \d+)?\r\n(.*)\r\n([\s\S]*)\.\r\n$/;

/** Changes the octets of the gateway's messages of a command; undefined for none sent. */
function octets(
  command: "IHAVE" | "UPDATE",
  change: (octets: string, first: string) => string | undefined,
): Pick<Fault, "says"> {
  return {
    says: (text) => {
      const [, tag, name, , whole = "", first = "", data = ""] = COUNTED.exec(text) ?? [];
      if (name !== command) return text;
      const changed = change(data, first);
      if (changed === undefined) return "";
      return `${tag}${NL}${name} ${changed.length}${whole}${NL}${first}${NL}${changed}.${NL}`;
    },
  };
}

/** The gateway names or hears no such feature. */
function without(feature: string): (lines: string[]) => string[] {
  return (lines) => lines.map((line) => line.replace(` ${feature}`, ""));
}

const isRange = (line: string) => /^(-|[0-9A-F]{1,16}) \d+ [0-9a-f]{32}$/.test(line);

/** Adds one to the count of the ranges with a prefix. */
function larger(lines: readonly string[], prefix: RegExp): string[] {
  return lines.map((line) => {
    const [name = "", count, hash] = line.split(" ");
    return isRange(line) && prefix.test(name) ? `${name} ${Number(count) + 1} ${hash}` : line;
  });
}

export const FEATURE_FAULTS: readonly Fault[] = [
  // sha256
  {
    bug: "announcements have no SHA-256, although the feature is named",
    rules: ["1.1.sha256", "1.1.sha256-missing", "wire.forms"],
    only: ["1.1.sha256", "1.1.sha256-missing", "wire.forms"],
    ...hearing("OPEN", without("sha256")),
  },
  {
    bug: "an announcement without SHA-256 is taken",
    rules: ["1.1.sha256-missing"],
    ...hearing("IHAVE", (lines) => (lines.length > 3 ? undefined : lines)),
  },
  // octets
  {
    bug: "listings in octets leave out the newest update",
    rules: ["1.1.octets-listing"],
    hears: (text, { seen }) => {
      if (text.includes("OPEN")) seen.push("OPEN");
      if (seen.length === 0) return text;
      return text.replace(/LIST\r\n(\d+-)(\d+)/, (_, low, high) => {
        return `LIST${NL}${low}${Number(high) - 1}`;
      });
    },
  },
  {
    bug: "octets of a listing are cut",
    rules: ["1.1.octets-listing", "wire.forms"],
    only: ["1.1.octets-listing", "wire.forms"],
    ...octets("IHAVE", (data, first) => (first === "" ? data : data.slice(0, -9))),
  },
  {
    bug: "an UPDATE of octets has the packets of another key",
    rules: ["1.1.octets-update"],
    ...octets("UPDATE", (data) => data.replace("Torture", "tORTURE")),
  },
  {
    bug: "an UPDATE of octets is sent twice",
    rules: ["1.1.octets-update"],
    says: (text, { tester }) => {
      if (!/^.{4}\r\nUPDATE \d/.test(text)) return text;
      tester.write(Buffer.from(`zz99${text.slice(4)}`, "latin1"));
      return text;
    },
  },
  {
    bug: "a number that is not available gets no answer in octets",
    rules: ["1.1.octets-update"],
    ...octets("UPDATE", (data) => data.replace(/^([\s\S]{4})\0\0\0\0|[\s\S]{4}\0\0\0\0$/, "")),
  },
  {
    bug: "the length of octets is that of the text form",
    rules: ["1.1.octets-update", "wire.forms"],
    only: ["1.1.octets-update", "wire.forms"],
    says: (text) => text.replace(/^(.{4}\r\nUPDATE )(\d+)/, (_, head, n) => `${head}${n - 2}`),
  },
  {
    bug: "an empty line for NOTIFY is no announcement",
    rules: ["1.1.octets-read"],
    hears: (text, { tester }) => {
      const [, tag] = /(?:^|\r\n)(.{4})\r\nIHAVE \d+\r\n\r\n/.exec(text) ?? [];
      if (tag !== undefined) tester.write(message(`zz99|ERROR|${tag}|500|no tag`));
      return text;
    },
  },
  {
    bug: "octets that are no announcements are ignored",
    rules: ["1.1.octets-form", "1.1.octets-inflate"],
    ...saying("ERROR", (lines) => {
      return /octets that are no|inflated/.test(lines.join()) ? undefined : lines;
    }),
  },
  {
    bug: "the connection goes on after octets of another length",
    rules: ["1.1.octets-length"],
    staysOpen: true,
  },
  {
    bug: "octets are read without the feature",
    rules: ["1.1.octets-unwanted"],
    hears: (text) => text.replace(/(^|\r\n).{4}\r\nIHAVE 2\r\nNOTIFY\r\n\r\n\.\r\n/, "$1"),
  },
  // reconcile
  {
    bug: "the counts of the parts of a range do not add up",
    rules: ["1.1.range"],
    ...saying("ITEMS", (lines) => larger(lines, /^-$/)),
  },
  {
    bug: "all keys are listed, however many",
    rules: ["1.1.range"],
    ...saying("ITEMS", (lines) => {
      const keys = Array.from({ length: 300 }, (_, n) => {
        return `${n.toString(16).toUpperCase().padStart(40, "0")} ${"0".repeat(32)}`;
      });
      return [...lines.filter((line) => !isRange(line) || line.startsWith("-")), ...keys];
    }),
  },
  {
    bug: "the parts of a range descend",
    rules: ["1.1.range"],
    ...saying("ITEMS", ([tag = "", command = "", first = "", whole = "", ...rest]) => [
      ...[tag, command, first, whole, ...rest.reverse()],
    ]),
  },
  {
    bug: "a range that is the same is answered",
    rules: ["1.1.range-same"],
    ...saying("ITEMS", (lines) => (lines.length > 3 ? lines : [...lines, `- 1 ${"0".repeat(32)}`])),
  },
  {
    bug: "a part has another count when it is asked for",
    rules: ["1.1.range-parts"],
    ...saying("ITEMS", (lines, { seen }) => (seen.push("") > 1 ? larger(lines, /^7$/) : lines)),
  },
  {
    bug: "a malformed RANGE gets an ITEMS",
    rules: ["1.1.range-digits", "1.1.range-many", "1.1.range-nothing", "1.1.range-word"],
    ...saying("ERROR", (lines) => {
      const isOurs = /RANGE/.test(lines[4] ?? "");
      return isOurs ? [lines[0] ?? "", "ITEMS", lines[2] ?? ""] : lines;
    }),
  },
  {
    bug: "a RANGE has at most 100 ranges",
    rules: ["1.1.range-most"],
    ...hearing("RANGE", (lines, { tester }) => {
      if (lines.length <= 102) return lines;
      tester.write(message(`zz99|UPDATE|${lines[0]}|too many`));
      return undefined;
    }),
  },
  {
    bug: "ITEMS that were not asked for are refused",
    rules: ["1.1.items", "1.1.range-unwanted"],
    ...hearing("ITEMS", (lines, { tester, seen }) => {
      tester.write(message(`x${seen.push("") + 100}|ERROR|${lines[0]}|500|not asked for`));
      return lines;
    }),
  },
  {
    bug: "a RANGE is answered without the feature",
    rules: ["1.1.range-unwanted"],
    ...hearing("RANGE", ([tag = ""], { tester }) => {
      tester.write(textOf(["zz99", "ITEMS", tag]));
      return undefined;
    }),
  },
];
