/**
 * The rules of the house (docs/architecture.md) as functions from source text to faults, so that
 * `house.test.ts` can hold them against the real tree and, one by one, against a broken sample.
 * They read text, not a syntax tree: comments are cut out, imports are found by their fixed place
 * at the start of a line, which Biome's formatter guarantees.
 */
import { posix } from "node:path";

/** Text of each file by its path from the top of the repository, as `src/mail/head.ts`. */
export type Tree = ReadonlyMap<string, string>;

/** What a room may take from outside the house; the list is complete. */
interface Room {
  /**
   * No I/O, no clock, no chance, nothing asynchronous; of rooms that are not pure it knows types.
   * Two rooms are handed what is not pure as an argument: `policy` a clock and what the log knows
   * of keys, `log-guard` a clock and the diagnostics.
   */
  readonly pure?: boolean;
  readonly packages?: readonly string[];
  readonly node?: readonly string[];
  /** Rooms of the same floor of which it may import types. */
  readonly typesBeside?: readonly string[];
}

/** Modules that everybody may import, as all may import types: functions of their arguments. */
const HARMLESS = ["path", "url"];
/** What pure rooms may take from node:crypto: functions of their arguments. */
const PURE_CRYPTO = ["createHash", "createPublicKey", "hash", "verify"];

/** Sockets and files belong to the doors and to what stands above them. */
const OUTSIDE = [
  ...["net", "tls", "http", "https", "dns/promises", "fs", "fs/promises", "os"],
  ...[
    "stream",
    "stream/promises",
    "events",
    "readline",
    "readline/promises",
    "timers/promises",
    "child_process",
  ],
];

/** From the ground up; an import goes to a lower floor or stays in its room. */
export const FLOORS: readonly Readonly<Record<string, Room>>[] = [
  {
    update: { pure: true },
    "server-kinds": { pure: true },
    block: { pure: true },
    errors: { pure: true },
    steps: { pure: true },
    clock: {},
    schedule: { pure: true },
    "mail-address": { pure: true },
    rate: { pure: true },
    "aged-map": { pure: true },
    "ip-address": { pure: true, node: ["net"] },
    version: { node: ["fs"] },
  },
  {
    text: { pure: true },
    diagnostics: { pure: true },
  },
  {
    openpgp: { pure: true, node: ["crypto"] },
    mail: { pure: true, node: ["crypto"] },
    kx: { pure: true, node: ["crypto", "zlib"] },
    recon: { pure: true, node: ["crypto"] },
    "log-guard": { pure: true },
    // On the floor of the formats: these take values, not the configuration.
    config: { packages: ["zod", "smol-toml"], node: ["fs", "net", "tls"] },
  },
  { admit: { pure: true }, outmail: { pure: true }, migration: { packages: ["smol-toml"] } },
  { policy: { pure: true } },
  { log: { packages: ["better-sqlite3"], node: ["fs", "crypto"] } },
  {
    intake: { packages: ["mailparser"], node: OUTSIDE },
    cluster: {
      packages: ["pg"],
      node: ["fs", "crypto", "os", "timers/promises", "worker_threads"],
    },
  },
  { "hkp-whole": {}, conform: { node: ["stream", "crypto"] } },
  {
    ingress: { packages: ["smtp-server"], node: OUTSIDE, typesBeside: ["repair"] },
    repair: { node: OUTSIDE },
    following: { node: OUTSIDE },
    peering: { node: OUTSIDE },
    delivery: { packages: ["nodemailer"], node: OUTSIDE },
    status: {
      packages: ["zod"],
      node: [...OUTSIDE, "crypto"],
      typesBeside: ["delivery", "peering", "ingress", "repair", "following"],
    },
  },
  {
    admin: {
      packages: ["prom-client", "zod", "@asteasolutions/zod-to-openapi"],
      node: [...OUTSIDE, "crypto"],
    },
  },
  { upkeep: {}, removal: {} },
  { doors: {} },
  { gateway: { node: ["util"] } },
  { demo: { packages: ["nodemailer", "smtp-server"], node: OUTSIDE } },
  {
    cli: {
      packages: ["@clack/prompts", "commander", "pino", "smol-toml", "zod"],
      node: [...OUTSIDE, "util"],
    },
  },
  { main: { packages: ["commander"] } },
];

/** Columns of the rooms in the picture below, and of its lines. */
const ROOM_COLUMNS = 52;
const PICTURE_COLUMNS = 120;

/** The floors as docs/architecture.md shows them, the highest first. */
export function floorPicture(): string {
  return FLOORS.toReversed()
    .flatMap((floor) => {
      const rooms = Object.keys(floor).join(" | ");
      const notes = floorNotes(Object.entries(floor));
      const all = notes.join("; ");
      const lines = ROOM_COLUMNS + all.length > PICTURE_COLUMNS ? notes : [all];
      if (rooms.length < ROOM_COLUMNS) lines[0] = rooms.padEnd(ROOM_COLUMNS) + lines[0];
      else lines.unshift(rooms);
      return lines.map((line) => (line.includes(rooms) ? line : " ".repeat(ROOM_COLUMNS) + line));
    })
    .map((line) => line.trimEnd())
    .join("\n");
}

/** What is said of rooms: of which of them, unless it is all. */
function floorNotes(rooms: readonly (readonly [name: string, rules: Room])[]): string[] {
  const about = (what: string, holds: (rules: Room) => boolean) => {
    const names = rooms.filter(([, rules]) => holds(rules)).map(([name]) => name);
    if (names.length === 0) return [];
    return names.length === rooms.length ? [what] : [`${what}: ${names.join(", ")}`];
  };
  const packages = [...new Set(rooms.flatMap(([, rules]) => rules.packages ?? []))].toSorted();
  return [
    ...about("pure", ({ pure }) => pure === true),
    ...packages.flatMap((name) => about(name, (rules) => rules.packages?.includes(name) === true)),
    ...about("I/O", ({ node }) => node === OUTSIDE || node?.includes("fs") === true),
    ...rooms.flatMap(([name, { typesBeside = [] }]) =>
      typesBeside.length === 0 ? [] : [`${name} takes types of ${typesBeside.join(", ")}`],
    ),
  ];
}

const NAMES_SAYING_NOTHING = /^(utils?|helpers?|common|types?|misc|shared|lib|index)$/;
const MAX_COLUMNS = 100;
/** Lines of text in a header comment; where it is the specification of a machine it may be long. */
const HEADER_LINES = 10;
const LONG_HEADER_LINES = 40;
const LONG_HEADERS = [
  "src/recon/session.ts",
  "src/kx/session.ts",
  "src/kx/fetch-tracker.ts",
  "src/kx/receive-state.ts",
  "src/kx/reconcile.ts",
  "src/delivery/path.ts",
  "src/peering/exchange.ts",
  "src/delivery/lane.ts",
  "src/peering/receiving.ts",
  "src/peering/reconciling.ts",
];

/** What a pure room must not say, each with what it is. */
const IMPURE: readonly (readonly [RegExp, string])[] = [
  [/\bDate\.now\b|\bnew Date\(\)|\bDate\(\)|\bperformance\b|\bhrtime\b/, "reads a clock"],
  [/\bMath\.random\b|\brandomBytes\b|\brandomUUID\b|\bgetRandomValues\b/, "draws a random number"],
  [/\b(setTimeout|setInterval|setImmediate|queueMicrotask)\b/, "sets a timer"],
  [/\basync\b|\bawait\b|\bPromise\b/, "is asynchronous"],
  [/\bprocess\b\s*\.|\bglobalThis\b|\bconsole\b|\bfetch\(/, "touches the process or the network"],
];

/** Files of rooms that are not pure, which are nevertheless: machines that others drive. */
const PURE_FILES = [
  "src/delivery/bounces.ts",
  "src/delivery/lane-queue.ts",
  "src/delivery/lane-report.ts",
  "src/delivery/lane.ts",
  "src/delivery/path.ts",
];

/** Clock and chance are handed to a door as a `Clock`; timers are its own. */
const CLOCKS = /\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b|\bhrtime\b|\bMath\.random\b/;
const TIMERS = /\b(setTimeout|setInterval|setImmediate)\b/;

interface Import {
  readonly specifier: string;
  readonly clause: string;
  readonly isType: boolean;
}

/** The room a file of src/ is in: its folder, or its own name at the top. */
export function roomOf(path: string): string {
  const [first = "", ...rest] = path.replace(/^src\//, "").split("/");
  return rest.length === 0 ? first.replace(/\.ts$/, "") : first;
}

function placeOf(room: string): { readonly floor: number; readonly rules: Room } | undefined {
  const floor = FLOORS.findIndex((rooms) => Object.hasOwn(rooms, room));
  const rules = FLOORS[floor]?.[room];
  return rules && { floor, rules };
}

/** The text without its comments. Strings stay, save that none may look like a comment. */
export function codeOf(text: string): string {
  const parts = /"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|\/\*[\s\S]*?\*\/|(?<![\\:/])\/\/[^\n]*/g;
  return text.replace(parts, (part) => (part.startsWith("/") ? "" : part));
}

function importsOf(text: string): Import[] {
  const code = codeOf(text);
  const still = /^(?:import|export)\b([^;"]*?)\bfrom "([^"]+)";/gm;
  const bare = /^import "([^"]+)";|\bimport\("([^"]+)"\)/gm;
  return [
    ...[...code.matchAll(still)].map(([, clause = "", specifier = ""]) => {
      return { specifier, clause, isType: /^\s*type\b/.test(clause) };
    }),
    ...[...code.matchAll(bare)].map(([, alone, called]) => {
      return { specifier: alone ?? called ?? "", clause: "", isType: false };
    }),
  ];
}

/** The file that a relative import of `path` names. */
function targetOf(path: string, specifier: string): string {
  return posix.join(posix.dirname(path), specifier).replace(/\.js$/, ".ts");
}

/** Imports that go up, sideways, or outside to what the room has no business with. */
export function importFaults(tree: Tree): string[] {
  return [...tree].flatMap(([path, text]) => {
    const place = placeOf(roomOf(path));
    if (place === undefined) return [`${path}: is in no room of the house`];
    return importsOf(text).flatMap((one) => {
      const fault = one.specifier.startsWith(".")
        ? inner(path, one, place.floor, place.rules)
        : outer(one, place.rules);
      return fault === undefined ? [] : [`${path}: imports ${one.specifier}: ${fault}`];
    });
  });
}

function inner(path: string, one: Import, floor: number, rules: Room): string | undefined {
  const room = roomOf(targetOf(path, one.specifier));
  if (room === roomOf(path)) return undefined;
  const target = placeOf(room);
  if (target === undefined) return "is no room of the house";
  if (target.floor > floor) return "an import goes down only";
  if (target.floor === floor) {
    const isOpen = one.isType && rules.typesBeside?.includes(room) === true;
    if (!isOpen) return "rooms of one floor do not know each other";
  }
  if (rules.pure && !target.rules.pure && !one.isType) return "a pure room imports pure rooms only";
  return undefined;
}

function outer(one: Import, rules: Room): string | undefined {
  const { specifier, clause } = one;
  if (specifier.startsWith("node:")) {
    const name = specifier.slice("node:".length);
    if (one.isType || HARMLESS.includes(name)) return undefined;
    if (!rules.node?.includes(name)) return "this room has no business there";
    const names = clause.replace(/\btype \w+|\bas \w+|[{}]/g, "").match(/\w+/g) ?? [];
    const isPure = names.every((one) => PURE_CRYPTO.includes(one));
    if (name === "crypto" && rules.pure && !isPure)
      return `only ${PURE_CRYPTO.join(", ")} are pure`;
    return undefined;
  }
  const name = specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
  return rules.packages?.includes(name) ? undefined : "this room has no business with it";
}

/** Circles of imports between files, each told once. */
export function cycleFaults(tree: Tree): string[] {
  const faults: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, way: readonly string[]): void => {
    const seen = way.indexOf(path);
    if (seen >= 0) faults.push(`a circle: ${[...way.slice(seen), path].join(" -> ")}`);
    if (seen >= 0 || done.has(path)) return;
    for (const { specifier } of importsOf(tree.get(path) ?? "")) {
      if (specifier.startsWith(".")) visit(targetOf(path, specifier), [...way, path]);
    }
    done.add(path);
  };
  for (const path of tree.keys()) visit(path, []);
  return faults;
}

/** Pure rooms that are not, timers below the doors, and clocks of their own in the doors. */
export function purityFaults(tree: Tree): string[] {
  const doors = FLOORS.findIndex((rooms) => Object.hasOwn(rooms, "intake"));
  return [...tree].flatMap(([path, text]) => {
    const room = roomOf(path);
    const place = placeOf(room);
    if (place === undefined || room === "clock") return [];
    const found: (readonly [RegExp, string])[] = [];
    if (place.rules.pure || PURE_FILES.includes(path)) found.push(...IMPURE);
    else if (place.floor <= doors + 2) found.push([CLOCKS, "has a clock of its own"]);
    if (!place.rules.pure && place.floor < doors) found.push([TIMERS, "sets a timer"]);
    return codeOf(text)
      .split("\n")
      .flatMap((line) =>
        found
          .filter(([pattern]) => pattern.test(line))
          .map(([, what]) => `${path}: ${what}: ${line.trim()}`),
      );
  });
}

/** Files that are too wide, badly named, barrels, or say nothing of themselves. */
export function formFaults(tree: Tree): string[] {
  return [...tree].flatMap(([path, text]) => {
    const faults = headerFaults(path, text);
    const lines = text.trimEnd().split("\n");
    for (const [index, line] of lines.entries()) {
      const columns = [...line].length;
      if (columns > MAX_COLUMNS) faults.push(`line ${index + 1} has ${columns} columns`);
    }
    const names = path.split("/").slice(1);
    for (const name of names) {
      const word = name.replace(/\.test\.ts$|\.ts$/, "");
      if (NAMES_SAYING_NOTHING.test(word)) faults.push(`${word} is a name that says nothing`);
    }
    if (/^export (\*|\{[^}]*\} from)/m.test(codeOf(text))) faults.push("hands on other files");
    return faults.map((fault) => `${path}: ${fault}`);
  });
}

function headerFaults(path: string, text: string): string[] {
  const header = /^(?:#!.*\n)?\/\*\*([\s\S]*?)\*\//.exec(text)?.[1];
  if (header === undefined) return ["does not open with a comment that says what it is"];
  const lines = header.split("\n").filter((line) => line.replace(/[\s*]/g, "") !== "").length;
  const most = LONG_HEADERS.includes(path) ? LONG_HEADER_LINES : HEADER_LINES;
  // The header of a test may be its one sentence; the tests' names say the rest.
  const least = path.startsWith("src/") ? 2 : 1;
  if (lines >= least && lines <= most) return [];
  return [`its header comment has ${lines} lines, not ${least} to ${most}`];
}
