/**
 * Planted faults for the conformance suite, each a way in which an implementation of KX may be
 * wrong, with the rules that find it. `|` ends a line.
 */
import { randomBytes } from "node:crypto";
import { FEATURE_FAULTS } from "./faults-features.js";
import type { Fault } from "./faulty-proxy.js";
import { END, hearing, linesOf, listing, message, NL, saying, textOf } from "./faulty-talk.js";

const isRefusal = (lines: readonly string[]) => lines[1] === "ERROR" && lines[3] !== "551";

const isUnavailable = (lines: readonly string[]) => lines[4]?.endsWith("not available") === true;

export const FAULTS: readonly Fault[] = [
  // What is judged by everything that is sent.
  {
    bug: "lines end with LF",
    rules: ["wire.crlf"],
    only: ["wire", "list.one"],
    says: (text) => text.replaceAll(NL, "\n"),
  },
  {
    bug: "one tag for all messages",
    rules: ["wire.tags"],
    only: ["wire", "list.one"],
    says: (text) => `0001${text.slice(4)}`,
  },
  {
    bug: "commands in lower case",
    rules: ["wire.commands"],
    only: ["wire", "list.one"],
    ...saying("IHAVE", ([tag = "", , ...data]) => [tag, "ihave", ...data]),
  },
  {
    bug: "hashes in upper case",
    rules: ["wire.forms"],
    only: ["wire", "list.one"],
    ...saying("IHAVE", ([tag = "", ...rest]) => [
      tag,
      ...rest.map((line) => (/^\d/.test(line) && line.length > 9 ? line.toUpperCase() : line)),
    ]),
  },
  {
    bug: "texts of errors that are longer than a line may be",
    rules: ["wire.lines"],
    only: ["wire", "list.no-range"],
    ...saying("ERROR", (lines) => [...lines.slice(0, 4), "x".repeat(1100)]),
  },
  {
    bug: "a receipt for a peer of KX/1.0",
    rules: ["wire.1.0-only"],
    only: ["wire", "list.one"],
    ...saying("IHAVE", (lines, { tester, seen }) => {
      if (seen.push("") === 1) tester.write(message("zz99|DONE|1"));
      return lines;
    }),
  },
  // The greeting.
  {
    bug: "HELO is sent after that of the peer",
    rules: ["helo.alone", "helo.at-once"],
    only: ["helo.at-once", "helo.alone"],
    ...saying("HELO", (lines, { seen }) => {
      if (seen.includes("spoke")) return lines;
      seen.push(textOf(lines));
      return undefined;
    }),
    hears: (text, { seen, tester }) => {
      for (const one of seen.splice(0)) if (one !== "spoke") tester.write(one);
      seen.push("spoke");
      return text;
    },
  },
  {
    bug: "the version is 1.1",
    rules: ["1.1.version", "helo.at-once"],
    ...saying("HELO", ([tag = "", command = ""]) => [tag, command, "1.1"]),
  },
  {
    bug: "IHAVE is sent with HELO",
    rules: ["helo.alone"],
    ...saying("HELO", (lines, { tester }) => {
      process.nextTick(() => tester.write(message("zz99|IHAVE|NOTIFY")));
      return lines;
    }),
  },
  {
    bug: "LIST is sent before IHAVE",
    rules: ["helo.newest"],
    ...saying("IHAVE", (lines, { tester }) => {
      tester.write(message("zz99|LIST|1-"));
      return lines;
    }),
  },
  {
    bug: "another minor version is refused",
    rules: ["helo.minor-version"],
    ...hearing("HELO", ([tag = "", command = "", version = ""]) => [
      ...[tag, command, version === "1.0" ? version : "2.0"],
    ]),
  },
  {
    bug: "another major version is accepted",
    rules: ["helo.major-version"],
    ...hearing("HELO", ([tag = "", command = ""]) => [tag, command, "1.0"]),
  },
  {
    bug: "a message before HELO is ignored",
    rules: ["helo.first"],
    hears: (text, { seen }) => {
      if (text.includes("HELO")) seen.push("HELO");
      return seen.length > 0 ? text : "";
    },
  },
  {
    bug: "the first IHAVE may be missing",
    rules: ["helo.then-ihave"],
    ...hearing("LIST", (lines, { gateway }) => {
      gateway.write(message("zz99|IHAVE|NOTIFY"));
      return lines;
    }),
  },
  {
    bug: "the first IHAVE may be a listing",
    rules: ["helo.then-notify"],
    ...hearing("IHAVE", ([tag = "", command = ""]) => [tag, command, "NOTIFY"]),
  },
  {
    bug: "the connection stays open after an error that ends it",
    rules: [
      ...["framing.bad-tag", "framing.long-line", "framing.unprintable-tag"],
      ...["helo.first", "helo.then-ihave", "helo.then-notify", "error.tenth"].sort(),
    ].sort(),
    staysOpen: true,
  },
  {
    bug: "a second HELO ends the connection",
    rules: ["helo.once"],
    says: (text, { tester }) => {
      if (text.includes(`${NL}551${NL}`)) process.nextTick(() => tester.destroy());
      return text;
    },
  },
  // Framing.
  {
    bug: "only CRLF ends a line",
    rules: ["framing.lf"],
    hears: (text) => text.replace("lfon\nLIST\n1\n.\n", ""),
  },
  {
    bug: "a message has to come in one piece",
    rules: ["framing.pieces"],
    hears: (text) => (text.endsWith(`${NL}.${NL}`) || text === NL + NL ? text : ""),
  },
  {
    bug: "one message is taken of each piece",
    rules: ["close.last", "framing.together"],
    hears: (text) => text.slice(0, text.indexOf(`${NL}.${NL}`) + 5),
  },
  {
    bug: "commands are read in upper case only",
    rules: ["framing.case"],
    ...hearing("list", ([tag = "", , ...data]) => [tag, "lost", ...data]),
  },
  {
    bug: "a blank line before a tag is a tag",
    rules: ["framing.blank-line"],
    hears: (text) => text.replace(/(^|\r\n\.\r\n)\r\n/g, `$1x${NL}`),
  },
  {
    bug: "tags of any length are taken",
    rules: ["framing.bad-tag"],
    ...hearing("LIST", ([tag = "", ...rest]) => [tag.slice(0, 4), ...rest]),
  },
  {
    bug: "lines of any length are taken",
    rules: ["framing.long-line"],
    ...hearing("LIST", (lines) => lines.map((line) => line.slice(0, 9))),
  },
  {
    bug: "an UPDATE that is too large ends the connection",
    rules: ["framing.long-line-in-update"],
    ...hearing("UPDATE", (lines, { gateway }) => {
      gateway.destroy();
      return lines;
    }),
  },
  {
    bug: "an unknown command gets no answer",
    rules: ["framing.unknown-command"],
    only: ["framing.unknown-command", "framing.case"],
    ...hearing("FROBNICATE", () => undefined),
  },
  {
    bug: "a message of a tag alone is skipped",
    rules: ["framing.no-command"],
    hears: (text) => text.replace(`none${END}`, ""),
  },
  // LIST.
  {
    bug: "a range needs a beginning",
    rules: ["list.open-beginning"],
    ...hearing("LIST", (lines) => lines.map((line) => line.replace(/^-/, "x-"))),
  },
  {
    bug: "listings are in descending order",
    rules: ["list.open-end", "list.range"].slice(1),
    only: ["list"],
    ...listing((lines) => lines.reverse()),
  },
  {
    bug: "listings leave out the newest update",
    rules: ["list.one", "list.open-end"],
    only: ["list"],
    ...listing((lines) => lines.slice(0, -1)),
  },
  {
    bug: "a range may begin one number early",
    rules: ["list.one", "list.open-end", "list.range"],
    only: ["list.one", "list.open-end", "list.range"],
    ...hearing("LIST", (lines) => {
      return lines.map((line) => line.replace(/^(\d+)/, (number) => `${Number(number) - 1}`));
    }),
  },
  {
    bug: "each range of a LIST is answered by itself",
    rules: ["list.several"],
    only: ["list.one", "list.range", "list.several"],
    ...hearing("LIST", ([tag = "", command = "", ...ranges], { gateway }) => {
      for (const range of ranges.slice(1)) gateway.write(textOf([tag, command, range]));
      return [tag, command, ...ranges.slice(0, 1)];
    }),
  },
  {
    bug: "a range in which there is nothing gets no answer",
    rules: ["list.nothing"],
    only: ["list"],
    ...saying("IHAVE", (lines) => (lines[2] !== "NOTIFY" && !lines[3] ? undefined : lines)),
  },
  {
    bug: "a malformed LIST gets an empty listing",
    rules: ["list.no-range", "list.not-a-range", "list.number-too-large", "list.too-many-ranges"],
    only: ["list"],
    ...saying("ERROR", ([tag = "", , quoted = ""]) => [tag, "IHAVE", quoted]),
  },
  {
    bug: "a malformed LIST gets an ERROR and an empty listing",
    rules: ["list.no-range", "list.not-a-range", "list.number-too-large", "list.too-many-ranges"],
    only: ["list"],
    ...saying("ERROR", (lines, { tester }) => {
      tester.write(message(`zz99|IHAVE|${lines[2]}`));
      return lines;
    }),
  },
  {
    bug: "a LIST has at most ten ranges",
    rules: ["list.most-ranges"],
    only: ["list"],
    ...hearing("LIST", (lines) => (lines.length > 12 ? [...lines.slice(0, 2), "x"] : lines)),
  },
  // GETUPDATE and UPDATE.
  {
    bug: "the body is that of another update",
    rules: ["get.newest", "get.oldest"],
    only: ["get.newest", "get.oldest"],
    ...saying("UPDATE", (lines, { seen }) => {
      const [tag = "", command = "", quoted = "", line = "", ...armor] = lines;
      seen.push(line);
      return [tag, command, quoted, line, ...armor.map((one) => one.replace(/^mD/, "mE"))];
    }),
  },
  {
    bug: "the armor has a character that is not base64",
    rules: ["get.newest"],
    ...saying("UPDATE", (lines) => lines.map((line, n) => (n === 7 ? `!${line.slice(1)}` : line))),
  },
  {
    bug: "the armor has no CRC-24",
    rules: ["get.armor"],
    ...saying("UPDATE", (lines) => lines.filter((line) => !/^=[^=]{4}$/.test(line))),
  },
  {
    bug: "an UPDATE names another number than was asked for",
    rules: ["get.newest"],
    ...saying("UPDATE", (lines) => {
      return lines.map((line, n) => (n === 3 ? line.replace(/^\d+/, "7") : line));
    }),
  },
  {
    bug: "an UPDATE is sent twice",
    rules: ["get.newest"],
    ...saying("UPDATE", (lines, { tester }) => {
      tester.write(textOf(["zz99", ...lines.slice(1)]));
      return lines;
    }),
  },
  {
    bug: "an unknown number gets no answer",
    rules: ["get.many-unknown", "get.several", "get.unknown"],
    only: ["get"],
    ...saying("ERROR", (lines) => (isUnavailable(lines) ? undefined : lines)),
  },
  {
    bug: "an unknown number gets an error with another text",
    rules: ["get.unknown"],
    ...saying("ERROR", (lines) => [...lines.slice(0, 4), "no"]),
  },
  {
    bug: "an expired number gets ERROR 551",
    rules: ["get.oldest"],
    ...saying("UPDATE", ([tag = "", , quoted = ""]) => [tag, "ERROR", quoted, "551", "expired"]),
  },
  {
    bug: "not more than 20 ERRORs are sent in a minute, of whatever kind",
    rules: ["get.many-unknown"],
    only: ["get.unknown", "get.many-unknown"],
    ...saying("ERROR", (lines, { seen }) => (seen.push("") > 20 ? undefined : lines)),
  },
  {
    bug: "one number of a GETUPDATE is answered",
    rules: ["get.many-unknown", "get.several"],
    only: ["get.newest", "get.unknown", "get.many-unknown", "get.several"],
    ...hearing("GETUPDATE", (lines) => lines.slice(0, 3)),
  },
  {
    bug: "lines of a GETUPDATE that are no number are skipped, and none is fine",
    rules: ["get.no-number", "get.not-a-number"],
    ...hearing("GETUPDATE", (lines) => {
      const numbers = lines.filter((line, n) => n < 2 || /^\d+$/.test(line));
      return numbers.length === 2 ? undefined : numbers;
    }),
  },
  {
    bug: "an UPDATE that was not asked for is refused",
    rules: ["update.not-asked-for"],
    ...hearing("UPDATE", (lines, { tester }) => {
      tester.write(message(`zz99|ERROR|${lines[0]}|500|not asked for`));
      return lines;
    }),
  },
  {
    bug: "an UPDATE without an announcement is dropped in silence",
    rules: ["update.no-announcement"],
    ...hearing("UPDATE", () => undefined),
  },
  {
    bug: "a malformed announcement is skipped, and the others count",
    rules: ["ihave.malformed"],
    ...hearing("IHAVE", (lines, { tester }) => {
      if (lines.length < 5) return lines;
      tester.write(message("zz99|GETUPDATE|1"));
      return undefined;
    }),
  },
  {
    bug: "a listing that was not asked for is taken",
    rules: ["ihave.not-asked-for"],
    ...hearing("IHAVE", (lines, { tester }) => {
      if (lines[2] === "zzzz") tester.write(message("zz99|GETUPDATE|1"));
      return lines;
    }),
  },
  // ERROR and CLOSE.
  {
    bug: "an ERROR is answered by an ERROR",
    rules: ["error.no-answer"],
    ...hearing("ERROR", (lines, { tester, seen }) => {
      tester.write(message(`e${seen.push("") + 100}|ERROR|${lines[0]}|500|no request`));
      return lines;
    }),
  },
  {
    bug: "a malformed ERROR gets ERROR 500",
    rules: ["error.malformed"],
    ...saying("ERROR", (lines) => lines.map((line) => (line === "501" ? "500" : line))),
  },
  {
    bug: "the first malformed message ends the connection",
    rules: ["error.tenth", "framing.no-command", "framing.unknown-command", "get.not-a-number"],
    says: (text, { tester }) => {
      const lines = linesOf(text);
      if (isRefusal(lines) && !isUnavailable(lines)) process.nextTick(() => tester.destroy());
      return text;
    },
  },
  {
    bug: "CLOSE gets no answer",
    rules: ["close.answer"],
    ...saying("CLOSE", () => undefined),
  },
  {
    bug: "the answer to CLOSE quotes no tag",
    rules: ["close.answer"],
    ...saying("CLOSE", ([tag = "", command = ""]) => [tag, command]),
  },
  {
    bug: "CLOSE is answered before what was asked",
    rules: ["close.last"],
    says: (text, { seen }) => {
      if (text.includes("CLOSE")) return `${text}${seen.join("")}`;
      if (!/(lst1|get1)/.test(text)) return text;
      seen.push(text);
      return "";
    },
  },
  {
    bug: "the connection is kept when the peer has closed its side",
    rules: ["close.fin"],
    staysOpen: true,
  },
  {
    bug: "a second connection is refused",
    rules: ["connection.second"],
    most: 1,
  },
  // KX/1.1.
  {
    bug: "no OPEN, although the tag of HELO is KX11",
    rules: ["1.1.open", "1.1.open-form"],
    ...saying("OPEN", () => undefined),
  },
  {
    bug: "OPEN to a peer of KX/1.0",
    rules: ["1.1.not-to-1.0", "wire.1.0-only"],
    only: ["1.1.not-to-1.0", "1.1.open", "wire"],
    ...hearing("HELO", ([tag = "", ...rest], { tester }) => {
      if (tag !== "KX11") process.nextTick(() => tester.write(message("zz99|OPEN|features")));
      return [tag, ...rest];
    }),
  },
  {
    bug: "OPEN is sent twice",
    rules: ["1.1.open"],
    ...saying("OPEN", (lines, { tester }) => {
      tester.write(textOf(["zz99", ...lines.slice(1)]));
      return lines;
    }),
  },
  {
    bug: "OPEN before the first IHAVE",
    rules: ["1.1.open"],
    ...saying("IHAVE", (lines, { tester, seen }) => {
      if (seen.push("") === 1) tester.write(message("zz99|OPEN|features"));
      return lines;
    }),
  },
  {
    bug: "another name of the log on each connection",
    rules: ["1.1.log-stays"],
    only: ["1.1.log-stays", "1.1.open"],
    ...saying("OPEN", (lines) => {
      const name = randomBytes(16).toString("hex");
      return lines.map((line) => (line.startsWith("log ") ? `log ${name}` : line));
    }),
  },
  {
    bug: "the name of the log is a UUID",
    rules: ["1.1.open-form"],
    ...saying("OPEN", (lines) => {
      return lines.map((line) => line.replace(/^log (.{8})(.{4})(.{4})(.{4})/, "log $1-$2-$3-$4-"));
    }),
  },
  {
    bug: "an OPEN with unknown words is refused",
    rules: ["1.1.unknown-words"],
    only: ["1.1.unknown-words", "1.1.open", "1.1.empty-open"],
    ...hearing("OPEN", (lines) => {
      return lines.some((line) => line.includes("frob")) ? [...lines.slice(0, 2), "log x"] : lines;
    }),
  },
  {
    bug: "a second OPEN is taken",
    rules: ["1.1.open-once"],
    ...hearing("OPEN", (lines, { seen }) => (seen.push("") > 1 ? undefined : lines)),
  },
  {
    bug: "an OPEN needs a line",
    rules: ["1.1.empty-open"],
    only: ["1.1.open", "1.1.empty-open"],
    ...hearing("OPEN", (lines) => (lines.length === 2 ? [...lines, "log x"] : lines)),
  },
  {
    bug: "an OPEN may have any number of lines",
    rules: ["1.1.long-open"],
    ...hearing("OPEN", (lines) => lines.slice(0, 20)),
  },
  {
    bug: "CLOSE is not read before OPEN",
    rules: ["1.1.close"],
    ...hearing("CLOSE", (lines, { seen }) => (seen.length === 0 ? undefined : lines)),
  },
  {
    bug: "requests are not answered in KX/1.1",
    rules: ["1.1.requests"],
    ...hearing("GETUPDATE", () => undefined),
  },
  {
    bug: "OPEN is taken before the first IHAVE",
    rules: ["1.1.open-early"],
    ...hearing("OPEN", (lines, { gateway }) => {
      gateway.write(message("zz99|IHAVE|NOTIFY"));
      return lines;
    }),
  },
  {
    bug: "any name of a log is taken",
    rules: ["1.1.bad-log", "1.1.not-hex", "1.1.two-logs"],
    ...hearing("OPEN", (lines) => lines.filter((line) => !line.startsWith("log "))),
  },
  {
    bug: "OPEN and DONE are known in KX/1.0",
    rules: ["1.1.open-in-1.0"],
    hears: (text) => (/\r\n(OPEN|DONE)\r\n/.test(text) ? "" : text),
  },
  {
    bug: "each DONE is answered",
    rules: ["1.1.done", "1.1.done-back", "1.1.done-unwanted"],
    ...hearing("DONE", (lines, { tester, seen }) => {
      tester.write(message(`y${seen.push("") + 100}|ERROR|${lines[0]}|500|no`));
      return lines;
    }),
  },
  {
    bug: "a DONE ahead of the log is an error",
    rules: ["1.1.done-ahead"],
    only: ["1.1.done", "1.1.done-ahead"],
    ...hearing("DONE", (lines, { tester }) => {
      if (Number(lines[2]) > 1000) tester.write(message(`zz99|ERROR|${lines[0]}|500|ahead`));
      return lines;
    }),
  },
  {
    bug: "a malformed DONE gets no answer",
    rules: ["1.1.done-nothing", "1.1.done-range", "1.1.done-word"],
    ...hearing("DONE", () => undefined),
  },
  {
    bug: "a peer without OPEN is not answered",
    rules: ["1.1.no-open"],
    hears: (text, { seen }) => {
      if (/KX11|OPEN/.test(text)) seen.push(text.includes("OPEN") ? "OPEN" : "KX11");
      const isMute = seen.includes("KX11") && !seen.includes("OPEN");
      return isMute && text.includes("LIST") ? "" : text;
    },
  },
  ...FEATURE_FAULTS,
  // Updates.
  {
    bug: "known updates are fetched",
    rules: ["fetch.known"],
    ...hearing("IHAVE", (lines, { tester }) => {
      tester.write(message("zz99|GETUPDATE|1"));
      return lines;
    }),
  },
  {
    bug: "no receipts, although the feature is named",
    rules: ["fetch.receipt"],
    only: ["fetch.known", "fetch.receipt"],
    ...saying("DONE", () => undefined),
  },
  {
    bug: "receipts go beyond what was announced",
    rules: ["fetch.receipt"],
    only: ["fetch.known", "fetch.receipt"],
    ...saying("DONE", ([tag = "", command = ""]) => [tag, command, "99"]),
  },
  {
    bug: "receipts without the feature",
    rules: ["fetch.no-receipt"],
    only: ["fetch.known", "fetch.no-receipt"],
    ...hearing("OPEN", (lines) => {
      return lines.map((line) => (line.startsWith("features") ? "features receipt" : line));
    }),
  },
  {
    bug: "an update that was not asked for is stored",
    rules: ["fetch.unasked"],
    ...storing((lines) => lines[2] === "zzzz"),
  },
  {
    bug: "an update that does not verify is stored",
    rules: ["fetch.wrong-body"],
    ...storing((lines) => lines.includes("!!!!")),
  },
  {
    bug: "new announcements are not heard",
    rules: ["fetch.new"],
    ...hearing("IHAVE", (lines, { seen }) => (seen.push("") > 1 ? undefined : lines)),
  },
  {
    bug: "a connection that shows another log is kept",
    rules: ["fetch.other-log"],
    staysOpen: true,
  },
];

/** Updates of a kind are listed as if they had been stored. */
function storing(isStored: (lines: readonly string[]) => boolean): Pick<Fault, "says" | "hears"> {
  const listed = listing((lines) => lines);
  return {
    ...hearing("UPDATE", (lines, { seen }) => {
      if (isStored(lines)) seen.push(lines[3] ?? "");
      return lines;
    }),
    says: (text, talk) => {
      const more = talk.seen.map((line) => line.replace(/^\d+/, "99"));
      const said = listed.says?.(text, talk) ?? text;
      const lines = linesOf(said);
      return lines[1] === "IHAVE" && lines[2] !== "NOTIFY" ? textOf([...lines, ...more]) : said;
    },
  };
}
