/**
 * The comparison of two checkouts: a record of this one holds what it promises, a record is equal
 * to itself, and a difference of each kind, planted into a copy, is found and printed.
 */
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../e2e/stage.js";
import { differences, KINDS, type Kind, report } from "./diff.js";
import { jsonKeys, metricNamesOf } from "./names.js";
import { record } from "./record.js";
import { dateless } from "./sinks.js";

const SCRATCH = mkdtempSync(join(tmpdir(), "kxgw-compare-"));
const RECORD = join(SCRATCH, "record");
afterAll(() => rmSync(SCRATCH, { recursive: true }));

const read = (name: string) => readFileSync(join(RECORD, name), "latin1");

describe("a record of this checkout", () => {
  beforeAll(async () => {
    const options = { seeds: 2, from: 1, isSmall: true, kinds: KINDS, say: () => {} };
    mkdirSync(RECORD);
    await record(ROOT, RECORD, options);
  }, 300_000);

  it("holds all kinds", () => {
    expect(readdirSync(RECORD).sort()).toEqual([...KINDS].sort());
    expect(read("simulation")).toMatch(/^seed 1: exit 0, [0-9a-f]{32}, \d+ events in .* trace /);
    expect(read("metrics")).toContain("a: kxgw_queue_depth gauge\n");
    expect(read("status")).toContain("a: .neighbours[].backlog number\n");
    expect(read("schema")).toContain("fresh: table updates on updates: CREATE TABLE updates (");
    expect(read("schema")).toMatch(/^.*2: table updates on updates: CREATE TABLE updates/m);
    expect(read("exits")).toContain("down: kxgw check -c bad.toml: exit 78\n");
    expect(read("answers")).toContain("no key: 550 5.6.0\n");
  });

  it("has mails of every way out, single, in parts and packed", () => {
    const texts = new Map<string, string>();
    for (const folder of readdirSync(join(RECORD, "mails"))) {
      const files = readdirSync(join(RECORD, "mails", folder)).sort();
      texts.set(folder, files.map((file) => read(join("mails", folder, file))).join("\n"));
    }
    expect([...texts.keys()].sort()).toEqual([
      "hkp-of-b",
      ...["beyond", "far", "packed", "small"].map((site) => `pgp-public-keys@${site}.example.net`),
      "spool-of-a",
    ]);
    expect(texts.get("pgp-public-keys@packed.example.net")).toMatch(/^Message-ID: <.*\.p\d+@/m);
    expect(texts.get("pgp-public-keys@far.example.net")).toMatch(/^Message-ID: <.*\.2@/m);
    expect(texts.get("pgp-public-keys@far.example.net")).toMatch(/^MAIL FROM:<.*=SEAL@/m);
    expect(texts.get("hkp-of-b")).toContain("POST /pks/add");
  });

  it("is equal to itself", () => {
    const found = differences(RECORD, RECORD);
    expect(found.map(({ kind, lines }) => [kind, lines])).toEqual(KINDS.map((kind) => [kind, []]));
    expect(report(found)).toMatch(/^simulation: no difference in 2 lines$/m);
  });

  const PLANTED: Record<Kind, readonly [file: string, from: string | RegExp, to: string]> = {
    simulation: ["simulation", /^(seed 2: exit 0, )./m, "$1x"],
    metrics: ["metrics", "kxgw_queue_depth gauge", "kxgw_queue_depth counter"],
    status: ["status", ".neighbours[].backlog number", ".neighbours[].waiting number"],
    events: ["events", "| `ready` | info |", "| `ready` | debug |"],
    schema: ["schema", "CREATE TABLE updates ( seq INTEGER", "CREATE TABLE updates ( seq BLOB"],
    mails: [
      "mails/pgp-public-keys@far.example.net/001.eml",
      "Precedence: list",
      "Precedence: bulk",
    ],
    answers: ["answers", "no key: 550 5.6.0", "no key: 451 4.3.0"],
    exits: ["exits", "nonsense: exit 64", "nonsense: exit 1"],
  };

  it.each(KINDS)("a planted difference of %s is found, and no other", (kind) => {
    const [file, from, to] = PLANTED[kind];
    const copy = join(SCRATCH, kind);
    cpSync(RECORD, copy, { recursive: true });
    const text = readFileSync(join(copy, file), "latin1");
    const changed = text.replace(from, to);
    expect(changed).not.toBe(text);
    writeFileSync(join(copy, file), changed, "latin1");
    const found = differences(RECORD, copy).filter(({ lines }) => lines.length > 0);
    expect(found.map((one) => one.kind)).toEqual([kind]);
    expect(found[0]?.lines).toHaveLength(2);
    expect(report(found)).toContain(`${kind}: 2 differences\n`);
  });

  it("a mail that is missing and lines in another order are found", () => {
    const copy = join(SCRATCH, "other");
    cpSync(RECORD, copy, { recursive: true });
    rmSync(join(copy, "mails/hkp-of-b/001.eml"));
    const lines = readFileSync(join(copy, "events"), "latin1").trimEnd().split("\n").reverse();
    writeFileSync(join(copy, "events"), `${lines.join("\n")}\n`, "latin1");
    const text = report(differences(RECORD, copy));
    expect(text).toContain("mails: 1 difference\n  hkp-of-b/001.eml: only in the old record\n");
    expect(text).toContain(
      "events: 1 difference\n  the same lines in another order from line 1 on",
    );
    expect(report(differences(copy, RECORD))).toContain("001.eml: only in the new record");
  });

  it("what differs in many mails is said once", () => {
    const copy = join(SCRATCH, "many");
    cpSync(RECORD, copy, { recursive: true });
    const folder = join(copy, "mails/hkp-of-b");
    for (const file of readdirSync(folder)) {
      const text = readFileSync(join(folder, file), "latin1");
      writeFileSync(join(folder, file), text.replace("POST", "PUT"), "latin1");
    }
    const more = readdirSync(folder).length - 1;
    expect(differences(RECORD, copy).flatMap(({ lines }) => lines)).toEqual([
      `hkp-of-b/001.eml and ${more} more: - POST /pks/add`,
      `hkp-of-b/001.eml and ${more} more: + PUT /pks/add`,
    ]);
  });
});

describe("names", () => {
  it("of metrics: types, and labels of our own", () => {
    const text =
      '# TYPE kxgw_a counter\nkxgw_a{peer="x"} 5\n# TYPE nodejs_b gauge\nnodejs_b{c="d"} 1';
    expect(metricNamesOf(text)).toEqual(["kxgw_a counter", 'kxgw_a{peer="x"}', "nodejs_b gauge"]);
  });

  it("of JSON: paths with all types that a value has", () => {
    expect(jsonKeys({ a: [{ b: 1 }, { b: null }] })).toEqual([
      " object",
      ".a array",
      ".a[] object",
      ".a[].b null|number",
    ]);
  });
});

it("only a date in the right form is left out", () => {
  const right = "Date: Sun, 29 Nov 2026 18:00:00 +0000\r\n";
  expect(dateless(`To: a@b\r\n${right}`)).toBe("To: a@b\r\nDate: DATE\r\n");
  const wrong = "Date: 2026-11-29T18:00:00Z\r\n";
  expect(dateless(wrong)).toBe(wrong);
  expect(dateless("From a@b Sun Nov 29 19:02:14 2026\nTo: x\n")).toBe("From a@b DATE\nTo: x\n");
});
