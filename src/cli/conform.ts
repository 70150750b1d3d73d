/**
 * `kxgw conform HOST:PORT`: plays the rules of KX against a server (`src/conform/`) and prints what
 * each found. It needs no config and no log. Exit codes: 0 when no rule failed; 76 (EX_PROTOCOL)
 * when one did; 69 when the server cannot be reached or sends no HELO; 64, 65 or 66 for arguments
 * and files that cannot be used.
 */
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Endpoint } from "../config/config.js";
import { parseKxEndpoint, parsePin } from "../config/fields.js";
import { formatEndpoint } from "../config/units.js";
import { Deviation, type OwnUpdate, type Said } from "../conform/conversation.js";
import { type Finding, RULES, Suite, type Welcome } from "../conform/suite.js";
import { EXIT, Refusal } from "../errors.js";
import { plainHost } from "../ip-address.js";
import { encodeArmor, readArmor } from "../openpgp/armor.js";
import { encodeKey, readKeys } from "../openpgp/key.js";
import { updateHash } from "../openpgp/update-hash.js";
import { KxTls } from "../peering/tls.js";
import type { Output } from "./output.js";
import { dialled } from "./probe-kx.js";
import { plainText } from "./table.js";

/** The number of the update of `--send-key` in our log. Number 1 is one that the server has. */
const OWN_NUMBER = 2;
/** Messages of a failed rule that are printed; the JSON report has more. */
const PRINTED = 12;

export interface ConformOptions {
  readonly json: boolean;
  readonly list: boolean;
  readonly slow: boolean;
  /** Only KX/1.0. */
  readonly old: boolean;
  readonly waitMs: number;
  /** Ids or groups of rules; empty for all. */
  readonly only: readonly string[];
  /** Local address to connect from. */
  readonly source: string | undefined;
  /** File with the key that the server may be given. */
  readonly sendKey: string | undefined;
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  readonly tlsCa: string | undefined;
  readonly pin: string | undefined;
}

/** Why the command ends before the server is asked. */
class Unusable extends Error {
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** Plays the rules against the server at `where`; resolves to the exit code. */
export async function conformCommand(
  where: string | undefined,
  options: ConformOptions,
  out: Output,
): Promise<number> {
  try {
    if (options.list) return list(options, out);
    return await play(where, options, out);
  } catch (error) {
    if (!(error instanceof Unusable)) throw error;
    out.stderr(`kxgw: ${error.message.split("\n").map(plainText).join("\n")}\n`);
    return error.code;
  }
}

function list({ json }: ConformOptions, out: Output): number {
  const rules = RULES.map(({ id, text, source, needs = [] }) => ({ id, text, source, needs }));
  if (json) out.stdout(`${JSON.stringify(rules)}\n`);
  else out.stdout(rules.map(({ id, text, source }) => `${id}: ${text} (${source})\n`).join(""));
  return EXIT.ok;
}

async function play(
  where: string | undefined,
  options: ConformOptions,
  out: Output,
): Promise<number> {
  const { json, only, waitMs, slow, old } = options;
  if (where === undefined) throw new Unusable(EXIT.usage, "name the server, as host:11373");
  checkOnly(only);
  const reading = parseKxEndpoint(where);
  if ("fault" in reading) throw new Unusable(EXIT.usage, reading.fault);
  const { secure, ...endpoint } = reading.value;
  const suite = new Suite({
    dial: dialler(endpoint, secure, options),
    now: () => performance.now(),
    update: options.sendKey === undefined ? undefined : updateFrom(options.sendKey),
    only: only.length === 0 ? undefined : only,
    found: (finding) => {
      if (!json) out.stdout(findingText(finding));
    },
    ...{ waitMs, slow, old },
  });
  const server = `${secure ? "kxs://" : ""}${formatEndpoint(endpoint)}`;
  const welcome = await welcomed(suite, server);
  const findings = await suite.run(welcome);
  const count = (result: Finding["result"]) => {
    return findings.filter((one) => one.result === result).length;
  };
  const [passed, failed, skipped] = [count("pass"), count("fail"), count("skipped")];
  const version = old ? "1.0" : welcome.version;
  if (json) {
    const report = { server, version, passed, failed, skipped, rules: findings };
    out.stdout(`${JSON.stringify(report)}\n`);
  } else {
    const sums = `${passed} passed, ${failed} failed, ${skipped} skipped`;
    out.stdout(`\n${server}, KX/${version}: ${findings.length} rules, ${sums}\n`);
  }
  return failed === 0 ? EXIT.ok : EXIT.protocol;
}

function checkOnly(only: readonly string[]): void {
  const unknown = only.find((one) => {
    return !RULES.some(({ id }) => id === one || id.startsWith(`${one}.`));
  });
  if (unknown === undefined) return;
  throw new Unusable(EXIT.usage, `there is no rule ${unknown}; kxgw conform --list has all`);
}

/** The first HELO: without it nothing can be said about the server. */
async function welcomed(suite: Suite, server: string): Promise<Welcome> {
  try {
    return await suite.welcome();
  } catch (error) {
    if (!(error instanceof Deviation)) throw error;
    const remedy =
      "A KX server speaks with its peers only. Add the address of this host as a peer to its " +
      "config, of a name that no gateway uses.";
    throw new Unusable(EXIT.unavailable, `${server}: ${error.message}\n      ${remedy}`);
  }
}

/** Opens connections, each with TLS and a verified certificate for kxs://. */
function dialler(
  endpoint: Endpoint,
  isSecure: boolean,
  { source, tlsCert, tlsKey, tlsCa, pin }: ConformOptions,
): () => Promise<Duplex> {
  const dial = async (): Promise<Socket> => {
    const socket = await dialled(endpoint, source);
    return socket.setNoDelay(true);
  };
  const hasTls = [tlsCert, tlsKey, tlsCa, pin].some((one) => one !== undefined);
  if (!isSecure) {
    if (hasTls) throw new Unusable(EXIT.usage, "TLS is used with kxs://HOST:PORT only");
    return dial;
  }
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new Unusable(EXIT.usage, "kxs:// needs our certificate: --tls-cert and --tls-key");
  }
  if (tlsCa === undefined && pin === undefined) {
    throw new Unusable(EXIT.usage, "kxs:// needs --pin or --tls-ca, by which the server is known");
  }
  const read = pin === undefined ? undefined : parsePin(pin);
  if (read !== undefined && "fault" in read) throw new Unusable(EXIT.usage, read.fault);
  const tls = new KxTls({ cert: tlsCert, key: tlsKey, ca: tlsCa });
  const host = plainHost(endpoint.host);
  const expected = [{ name: "server", host, pin: read?.value }];
  return async () => (await tls.secure(await dial(), expected, host)).secured;
}

/** The first key of a file, armored or binary, as our update. */
function updateFrom(file: string): OwnUpdate {
  let data: Buffer;
  try {
    data = readFileSync(file);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Unusable(EXIT.noInput, `${file}: cannot be read: ${why}`);
  }
  const isBinary = ((data[0] ?? 0) & 0x80) !== 0;
  const [block] = isBinary ? [{ data }] : readArmor(data);
  const [key] = block === undefined || block instanceof Refusal ? [block] : readKeys(block.data);
  if (key === undefined || key instanceof Refusal) {
    const why = key?.message ?? "contains no OpenPGP key";
    throw new Unusable(EXIT.dataError, `${file}: ${why}`);
  }
  const { fingerprint } = key;
  const armor = encodeArmor(encodeKey(key)).trimEnd().split("\n");
  return { announcement: { number: OWN_NUMBER, fingerprint, hash: updateHash(key).hash }, armor };
}

function findingText({ id, text, source, result, words, transcript }: Finding): string {
  if (result === "pass") return `ok    ${id}: ${text}\n`;
  if (result === "skipped") return plainText(`skip  ${id}: ${words}`).concat("\n");
  const said = transcript.slice(-PRINTED).map(saidText);
  const lines = [`FAIL  ${id}: ${words}`, `      ${text} (${source})`, ...said];
  return lines.map((line) => `${plainText(line)}\n`).join("");
}

/** One message of a transcript on one line: ">" from us, "<" from the server. */
function saidText({ from, at, text }: Said): string {
  return `      ${from === "tester" ? ">" : "<"} ${at} ms  ${text.split("\n").join(" | ")}`;
}
