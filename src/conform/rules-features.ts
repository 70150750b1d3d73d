/**
 * Rules of the features of KX/1.1: `sha256`, `octets` and `reconcile` (docs/protocol.md). A feature
 * that the server does not name is skipped. What a server fetches is not tried here: the tester
 * shows it nothing that it lacks.
 */
import { readKeyRange, readKeyState } from "../kx/messages.js";
import { writeAnnouncements } from "../kx/octets.js";
import type { KeyRange } from "../kx/reconcile.js";
import { type Conversation, Deviation, quotes, Skipped, shown } from "./conversation.js";
import { type Rule, rule11 } from "./rule.js";
import { ahead, get, isUnavailable, mustBeKey } from "./rules-requests.js";
import type { Subject } from "./subject.js";
import type { Heard } from "./wire.js";

const HASH = "0".repeat(32);
/** Ranges that a RANGE may have, and keys of a range that are listed. */
const RANGES = 128;
const FEW = 16;

export const FEATURE_RULES: readonly Rule[] = [
  rule11("1.1.sha256", "With sha256, announcements and UPDATE have the SHA-256 of the update.", {
    source: "KX/1.1, sha256",
    async play(subject) {
      const line = await withFeatures(subject, "sha256");
      const { number } = subject.newestOf(line);
      const [listed] = await line.list(String(number));
      if (listed?.digest === undefined) throw new Deviation("the listing has no SHA-256");
      const answer = await get(line, number);
      if (isUnavailable(answer, number)) return;
      const armor = answer.lines.slice(2).join("\n");
      if (!answer.lines[1]?.endsWith(` ${listed.digest}`) || !armor.startsWith("-----BEGIN")) {
        throw new Deviation(`an UPDATE with that SHA-256 was due, not ${shown(answer)}`);
      }
    },
  }),
  rule11("1.1.sha256-missing", "With sha256, an announcement without it gets ERROR 500.", {
    source: "KX/1.1, sha256",
    async play(subject) {
      const line = await withFeatures(subject, "sha256");
      await line.refusal(line.send("IHAVE", "NOTIFY", `2 ${HASH}`), 500);
      await line.stillAnswers();
    },
  }),
  rule11("1.1.octets-listing", "With octets, a listing shows the same as in KX/1.0.", {
    source: "KX/1.1, octets",
    async play(subject) {
      const old = await subject.greeted();
      const { number } = subject.newestOf(old);
      const range = `${Math.max(0, number - 1000)}-${number}`;
      const due = await old.list(range);
      const listed = await (await withFeatures(subject, "octets")).list(range);
      const words = (all: typeof due) => all.map((one) => `${one.number} ${one.hash}`).join();
      if (words(listed) !== words(due)) {
        throw new Deviation(`${listed.length} lines were listed, and ${due.length} in KX/1.0`);
      }
    },
  }),
  rule11(
    "1.1.octets-update",
    "With octets, each number is answered once, with the packets of it.",
    {
      source: "KX/1.1, octets",
      async play(subject) {
        const line = await withFeatures(subject, "octets");
        const newest = subject.newestOf(line);
        const numbers = [newest.number, ahead(line)];
        const tag = line.send("GETUPDATE", ...numbers.map(String));
        const answered = new Map<number, Uint8Array | undefined>();
        while (answered.size < numbers.length) {
          const answer = await line.wait(`an answer to each of ${numbers.join(", ")}`, quotes(tag));
          for (const { number, packets } of answersOf(answer, numbers, answered)) {
            if (answered.has(number)) throw new Deviation(`${number} is answered twice`);
            if (!numbers.includes(number)) throw new Deviation(`${number} was not asked for`);
            answered.set(number, packets);
          }
        }
        const packets = answered.get(newest.number);
        if (packets !== undefined) mustBeKey(packets, newest);
        if (answered.get(ahead(line)) !== undefined) {
          throw new Deviation("there is an update for a number that the log does not have");
        }
        await line.quiet("An answered GETUPDATE");
      },
    },
  ),
  rule11("1.1.octets-read", "With octets, an IHAVE of octets is read, also with an empty line.", {
    source: "KX/1.1, octets",
    async play(subject) {
      const line = await withFeatures(subject, "octets");
      const own = subject.scene.own.updates.slice(0, 1).map(({ announcement }) => announcement);
      line.sendOctets("IHAVE", "", writeAnnouncements(own, false));
      line.sendOctets("IHAVE", "NOTIFY", writeAnnouncements(own, false));
      await line.quiet("An IHAVE of octets");
    },
  }),
  ...(
    [
      ["1.1.octets-form", "octets that are no announcements", "abc", undefined],
      ["1.1.octets-inflate", "octets that cannot be inflated", "abc", "3 30"],
    ] as const
  ).map(([id, what, octets, length]) =>
    rule11(id, `With octets, an IHAVE with ${what} gets ERROR 500.`, {
      source: "KX/1.1, octets",
      async play(subject) {
        const line = await withFeatures(subject, "octets");
        await line.refusal(line.sendOctets("IHAVE", "NOTIFY", Buffer.from(octets), length), 500);
        await line.stillAnswers();
      },
    }),
  ),
  rule11("1.1.octets-length", "Octets that the dot does not follow end the connection.", {
    source: "KX/1.1, octets; Framing",
    async play(subject) {
      const line = await withFeatures(subject, "octets");
      line.sendOctets("IHAVE", "NOTIFY", Buffer.from("abcdef"), "4");
      await line.refusal("NOTIFY", 500);
      await line.closed();
    },
  }),
  rule11("1.1.octets-unwanted", "Without octets, a command with a length is an unknown command.", {
    source: "KX/1.1, Negotiation and octets",
    async play(subject) {
      const line = await subject.opened();
      await line.refusal(line.sendOctets("IHAVE", "NOTIFY", Buffer.from("\r\n")), 500);
      await line.stillAnswers();
    },
  }),
  rule11("1.1.range", "A RANGE that differs gets one ITEMS with the state of the range.", {
    source: "KX/1.1, Reconciliation",
    async play(subject) {
      const line = await withFeatures(subject, "reconcile");
      const { ranges, keys } = await ask(line, `- 0 ${HASH}`);
      const [whole, ...parts] = ranges;
      if (whole?.prefix !== "") throw new Deviation("the first line is not that of the range");
      const listed = keys.length === whole.count && parts.length === 0;
      const sum = parts.reduce((all, { count }) => all + count, 0);
      if (listed ? whole.count > FEW : keys.length > 0 || sum !== whole.count) {
        throw new Deviation(
          `of ${whole.count} keys, ${keys.length} are listed and ${sum} in parts`,
        );
      }
      const names = (listed ? keys : parts.map(({ prefix }) => prefix)).join();
      if (names !== [...new Set(names.split(","))].sort().join()) {
        throw new Deviation("the lines do not ascend");
      }
      const wrong = parts.find(({ prefix, count }) => prefix.length !== 1 || count === 0);
      if (wrong !== undefined) throw new Deviation(`the part "${wrong.prefix} ${wrong.count}"`);
    },
  }),
  rule11("1.1.range-same", "A range with the same count and hash is left out.", {
    source: "KX/1.1, Reconciliation",
    async play(subject) {
      const line = await withFeatures(subject, "reconcile");
      const { ranges } = await ask(line, `- 0 ${HASH}`);
      const asked = ranges.slice(0, 1).map(({ count, hash }) => `- ${count} ${hash}`);
      const again = await ask(line, ...asked);
      if (again.ranges.length + again.keys.length > 0) {
        throw new Deviation(`an ITEMS without a line was due; it has ${again.ranges.length}`);
      }
    },
  }),
  rule11("1.1.range-parts", "A part that is asked for has the count and hash that were told.", {
    source: "KX/1.1, Reconciliation",
    async play(subject) {
      const line = await withFeatures(subject, "reconcile");
      const [, ...parts] = (await ask(line, `- 0 ${HASH}`)).ranges;
      if (parts.length === 0) throw new Skipped("the server has few keys, or none");
      const asked = parts.map(({ prefix }) => `${prefix} 0 ${HASH}`);
      const { ranges, keys } = await ask(line, ...asked);
      for (const { prefix, count, hash } of parts) {
        const own = ranges.find((one) => one.prefix === prefix);
        if (own?.count !== count || own.hash !== hash) {
          throw new Deviation(`${prefix} has ${own?.count} keys, and ${count} a moment ago`);
        }
        const isListed = keys.filter((key) => key.startsWith(prefix)).length === count;
        if (count <= FEW && !isListed) throw new Deviation(`the keys of ${prefix} are not listed`);
      }
    },
  }),
  ...(
    [
      ["1.1.range-nothing", "A RANGE without a range", []],
      ["1.1.range-word", "A RANGE with a line that is no range", ["all"]],
      ["1.1.range-digits", "A RANGE with 17 digits", [`${"0".repeat(17)} 0 ${HASH}`]],
      ["1.1.range-many", "A RANGE with 129 ranges", manyRanges(RANGES + 1)],
    ] as const
  ).map(([id, what, lines]) =>
    rule11(id, `${what} gets ERROR 500, and the connection continues.`, {
      source: "KX/1.1, Reconciliation; Messages",
      async play(subject) {
        const line = await withFeatures(subject, "reconcile");
        await line.refusal(line.send("RANGE", ...lines), 500);
        await line.stillAnswers();
      },
    }),
  ),
  rule11("1.1.range-most", "A RANGE with 128 ranges gets one ITEMS.", {
    source: "KX/1.1, Reconciliation",
    async play(subject) {
      await ask(await withFeatures(subject, "reconcile"), ...manyRanges(RANGES));
    },
  }),
  rule11("1.1.items", "ITEMS NOTIFY, and ITEMS that were not asked for, get no answer.", {
    source: "KX/1.1, Reconciliation; Messages",
    async play(subject) {
      const line = await withFeatures(subject, "reconcile");
      line.send("ITEMS", "NOTIFY");
      line.send("ITEMS", "zzzz", `- 1 ${HASH}`);
      await line.quiet("An ITEMS");
    },
  }),
  rule11("1.1.range-unwanted", "Without reconcile, RANGE and ITEMS get no answer.", {
    source: "KX/1.1, Reconciliation; Messages",
    async play(subject) {
      const line = await subject.opened();
      const tag = line.send("RANGE", `- 0 ${HASH}`);
      line.send("ITEMS", "NOTIFY");
      await line.quiet("A RANGE without the feature reconcile");
      const [answer] = line.left("ITEMS").filter(quotes(tag));
      if (answer !== undefined) throw new Deviation(`the server sent ${shown(answer)}`);
    },
  }),
];

/** A connection that uses a feature. Throws `Skipped` if the server does not name it. */
async function withFeatures(
  subject: Subject,
  feature: "sha256" | "octets" | "reconcile",
): Promise<Conversation> {
  const line = await subject.greeted({ tag: "KX11" });
  // Our own announcements need the SHA-256 of the update, which is learnt first.
  line.answersLists = false;
  line.send("OPEN", ...subject.openLines(feature));
  await line.wait("OPEN", ({ command }) => command === "OPEN");
  if (!line.features[feature]) throw new Skipped(`the server has not the feature ${feature}`);
  if (feature === "sha256") await subject.learnDigest(line);
  line.answerLists();
  return line;
}

/** What an answer to a GETUPDATE says of which numbers. */
function answersOf(
  answer: Heard,
  numbers: readonly number[],
  answered: ReadonlyMap<number, unknown>,
): { readonly number: number; readonly packets: Uint8Array | undefined }[] {
  if (answer.deliveries !== undefined) return [...answer.deliveries];
  if (answer.command !== "ERROR") throw new Deviation(`UPDATE was due, not ${shown(answer)}`);
  const left = numbers.filter((number) => !answered.has(number));
  return left.map((number) => ({ number, packets: undefined }));
}

async function ask(line: Conversation, ...ranges: readonly string[]) {
  const tag = line.send("RANGE", ...ranges);
  const answer = await line.wait(`ITEMS that quotes ${tag}`, quotes(tag));
  if (answer.command === "ERROR" && answer.lines[1] === "500") {
    throw new Skipped(`the server has nothing to compare: ${answer.lines[2]}`);
  }
  if (answer.command !== "ITEMS") throw new Deviation(`ITEMS was due, not ${shown(answer)}`);
  const lines = answer.lines.slice(1);
  const found: KeyRange[] = lines.map(readKeyRange).filter((one) => one !== undefined);
  const keys = lines.map(readKeyState).filter((one) => one !== undefined);
  return { ranges: found, keys: keys.map(({ fingerprint }) => fingerprint) };
}

function manyRanges(count: number): string[] {
  return Array.from({ length: count }, (_, n) => {
    return `${n.toString(16).padStart(2, "0").toUpperCase()} 0 ${HASH}`;
  });
}
