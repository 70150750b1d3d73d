/**
 * Two real keyservers that have drifted apart, SKS and onak, are brought together by
 * `kxgw reconcile`: each has a gateway beside it with an index made from its own dump. Keys are
 * missing at either side, and at either side some lack the signatures of others. onak has no server
 * of its own here: a few lines of HTTP run its program, as its CGI scripts do. RECONCILE_KEYS says
 * how many keys take part (45), and RECONCILE_DIFFERING how many of them differ (20): a quarter of
 * these is missing, and a quarter incomplete, at each side.
 */
import { execFile } from "node:child_process";
import { chownSync, mkdirSync, readdirSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import { isDeepStrictEqual } from "node:util";
import { expect, test } from "vitest";
import { encodeArmor, readArmor } from "../../src/openpgp/armor.js";
import { assembleKey, encodeKey, keyComponents, readKeys } from "../../src/openpgp/key.js";
import { digestOfNames, packetNames } from "../../src/openpgp/news.js";
import { freePort, listening } from "../support/ports.js";
import { until } from "../support/until.js";
import { NOBODY, run } from "./daemon.js";
import { debianKeys, packetCount, type RealKey } from "./keys.js";
import { note } from "./ledger.js";
import { Onak } from "./onak.js";
import { Sks } from "./sks.js";
import { stagePerTest } from "./stage.js";

const KEYS = Number(process.env.RECONCILE_KEYS ?? 45);
const QUARTER = Math.floor(Number(process.env.RECONCILE_DIFFERING ?? 20) / 4);
/** Small keys, as far as there are enough of them. */
const MAX_BYTES = KEYS > 100 ? 60_000 : 12_000;
/** A public keyserver is asked for a key a second, and SKS sees a mail after ten seconds. */
const PATIENCE_MS = 60_000 + 4 * QUARTER * 3000;
/** How long the keys take to get into both keyservers. */
const LOADING_MS = 120_000 + KEYS * 500;

const stage = stagePerTest();

test(
  "SKS and onak come to hold the same keys and signatures",
  async () => {
    const site = { from: "pks@sks.example.net", mailsync: [], sendmail: "/bin/false" };
    const sks = stage().add(await Sks.start(stage().path("sks"), site));
    const mail = { address: "pks@onak.example.net", syncSites: [], sendmail: "/bin/false" };
    const onak = await Onak.setUp(stage().path("onak"), mail);
    const keys = chosenKeys();
    for (const { key, atSks } of keys) {
      if (atSks !== "no") await sks.add(atSks === "part" ? part(key) : key.armored);
    }
    const program = stage().path("onak/bin/onak");
    for (const { key, atOnak } of keys) {
      const input = atOnak === "part" ? part(key) : key.armored;
      if (atOnak !== "no") run(program, ["add"], { input, ...NOBODY });
    }
    const onakPort = await httpOf(program);

    // The dumps, as each keyserver writes them.
    const dumps = { sks: stage().path("sks-dump"), onak: stage().path("onak-dump") };
    for (const directory of Object.values(dumps)) mkdirSync(directory);
    await sks.dump(dumps.sks);
    chownSync(dumps.onak, NOBODY.uid, NOBODY.gid);
    run("/bin/sh", ["-c", `cd ${dumps.onak} && ${program} dump`], NOBODY);

    const differing = async (among: readonly Chosen[]) => {
      const found: { chosen: Chosen; text: string }[] = [];
      for (const chosen of among) {
        const { atSks, atOnak, key } = chosen;
        const { fingerprint, armored } = key;
        const held = [(await sks.get(fingerprint)) ?? "", onak.get(fingerprint) ?? ""];
        const [one, other] = held.map(digestIn);
        if (one !== undefined && one === other) continue;
        const counts = [armored, ...held].map((text) => packetCount(text)).join(" ");
        found.push({ chosen, text: `${atSks} ${atOnak} ${fingerprint}: ${counts}` });
      }
      return found;
    };
    // A server may drop packets of a key that it was given whole: such a key differs for ever.
    const whole = keys.filter(({ atSks, atOnak }) => atSks === "whole" && atOnak === "whole");
    const staying = await differing(whole);
    const others = keys.filter((one) => staying.every(({ chosen }) => chosen !== one));
    expect(staying.length).toBeLessThan(KEYS / 100);

    const kxPort = await freePort();
    await stage().gateway("b", [
      '[site]\naddress = "pks@b.kx.example.org"',
      `[kx]\nlisten = ["127.0.0.1:${kxPort}"]`,
      `[local]\ntype = "hkp"\nkind = "onak"\nurl = "http://127.0.0.1:${onakPort}"`,
      '[[peer]]\nname = "a"\nkx = "127.0.0.2:1"',
      `repair = "hkp://127.0.0.1:${sks.port}"`,
    ]);
    const a = await stage().gateway("a", [
      '[site]\naddress = "pks@a.kx.example.org"',
      '[kx]\nlisten = []\nsource = "127.0.0.2"',
      `[local]\ntype = "hkp"\nkind = "sks"\nurl = "http://127.0.0.1:${sks.port}"`,
      `[[peer]]\nname = "b"\nkx = "127.0.0.1:${kxPort}"\ndial = true`,
      `repair = "hkp://127.0.0.1:${onakPort}"`,
    ]);
    await a.event("peer-connected");
    for (const [name, directory] of [
      ["a", dumps.sks],
      ["b", dumps.onak],
    ] as const) {
      const files = readdirSync(directory).map((file) => `${directory}/${file}`);
      kxgw("index", "build", ...files, "-c", stage().path(`${name}.toml`));
    }
    const config = stage().path("a.toml");
    const report = JSON.parse(kxgw("reconcile", "b", "--json", "-c", config));
    expect(report).toMatchObject({ state: "done", keysHere: KEYS - QUARTER });
    expect(report.onlyThere).toBe(QUARTER);
    expect(report.onlyHere).toBe(QUARTER);
    expect(report.differing).toBe(2 * QUARTER + staying.length);

    let left = await differing(others);
    await until(
      async () => {
        left = await differing(left.map(({ chosen }) => chosen));
        return left.length === 0;
      },
      () => {
        const lines = left.map(({ text }) => text).join("\n");
        return `the same keys; packets of the key, at SKS and at onak of others:\n${lines}`;
      },
      PATIENCE_MS,
    );
    expect(await differing(keys)).toEqual(staying);

    // What stays is known by now, and is not fetched again.
    const again = async () => JSON.parse(kxgw("reconcile", "b", "--json", "-c", config));
    const rest = { onlyHere: 0, onlyThere: 0, staying: staying.length, differing: staying.length };
    await until(
      async () => {
        const { onlyHere, onlyThere, differing, staying } = await again();
        return isDeepStrictEqual({ onlyHere, onlyThere, staying, differing }, rest);
      },
      "the indexes follow",
      PATIENCE_MS,
    );
    note("reconciliation of SKS and onak", [
      {
        from: "SKS",
        to: "onak",
        road: "HKP get",
        what:
          `${KEYS} keys, ${4 * QUARTER} differ: ${report.questions} questions; ` +
          `${staying.length} stay different`,
      },
    ]);
  },
  LOADING_MS + PATIENCE_MS,
);

type Share = "whole" | "part" | "no";

/** A key, and what each server has of it. */
interface Chosen {
  readonly key: RealKey;
  readonly atSks: Share;
  readonly atOnak: Share;
}

/** Those of which there can be a part come first. */
function chosenKeys(): Chosen[] {
  const all = debianKeys(KEYS + 200, KEYS > 100 ? 0 : 100, MAX_BYTES);
  const isPartable = (key: RealKey) => part(key) !== key.armored;
  const sorted = [...all.filter(isPartable), ...all.filter((one) => !isPartable(one))];
  const shares: [Share, Share][] = [
    ["no", "whole"],
    ["whole", "no"],
    ["part", "whole"],
    ["whole", "part"],
  ];
  return sorted.slice(0, KEYS).map((key, n) => {
    const [atSks, atOnak] = (n < 4 * QUARTER ? shares[n % 4] : undefined) ?? ["whole", "whole"];
    return { key, atSks, atOnak };
  });
}

/** The key with the self-signatures only. */
function part({ key, armored }: RealKey): string {
  const parts = keyComponents(key).map(({ packet, signatures }) => ({
    packet,
    signatures: signatures.length > 1 ? signatures.slice(0, 1) : signatures,
  }));
  const octets = encodeKey(assembleKey(parts));
  return octets.length === encodeKey(key).length ? armored : encodeArmor(octets);
}

function kxgw(...args: readonly string[]): string {
  return run(process.execPath, ["dist/main.js", ...args]);
}

function digestIn(armored: string): string | undefined {
  const [block] = readArmor(Buffer.from(armored, "latin1"));
  if (block === undefined || block instanceof Error) return undefined;
  const [key] = readKeys(block.data);
  if (key === undefined || key instanceof Error) return undefined;
  return digestOfNames(packetNames(key));
}

/** HTTP before the program of onak: op=get and add. One request at a time. */
async function httpOf(program: string): Promise<number> {
  let last: Promise<unknown> = Promise.resolve();
  const server = createServer((request, response) => {
    last = last.then(async () => {
      const url = new URL(request.url ?? "", "http://x");
      if (url.pathname === "/pks/add") {
        const text = new URLSearchParams(await bodyOf(request)).get("keytext") ?? "";
        await told(program, ["add"], text);
        response.end("Key block added to key server database.\n");
        return;
      }
      const answer = await told(program, ["get", url.searchParams.get("search") ?? ""]);
      if (answer.includes("BEGIN PGP")) response.end(answer);
      else response.writeHead(404).end("Key not found\n");
    });
  });
  const port = await listening(server);
  stage().add({
    stop: async () => {
      server.closeAllConnections();
      server.close();
      await last;
    },
  });
  return port;
}

function told(program: string, args: readonly string[], input = ""): Promise<string> {
  return new Promise((resolve) => {
    const options = { maxBuffer: 64 * 1024 * 1024, encoding: "latin1", ...NOBODY } as const;
    const child = execFile(program, args, options, (_, stdout) => resolve(stdout));
    child.stdin?.on("error", () => {});
    child.stdin?.end(input);
  });
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("latin1");
}
