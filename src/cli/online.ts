/**
 * What can only be seen from the network, for `kxgw check --online`, `kxgw peers test` and `kxgw
 * doctor`: does the site's name have an MX, does the relay greet and offer TLS, does a KX peer
 * answer. Each probe has a deadline, sends nothing that would be stored, and ends in a finding with
 * what to do. A peer that knows neighbours by address closes at once on a host it does not know,
 * and says nothing; that is told as what it is.
 */
import { resolve4, resolve6, resolveMx } from "node:dns/promises";
import { connect } from "node:net";
import { domainOf } from "../config/addresses.js";
import type { Config, Endpoint, Neighbour } from "../config/config.js";
import { loadConfig } from "../config/load.js";
import { formatEndpoint } from "../config/units.js";
import { EXIT } from "../errors.js";
import type { Output } from "./output.js";
import { plainText } from "./table.js";

const PROBE_MS = 10_000;
const LINE_BYTES = 4096;

export interface Finding {
  readonly ok: boolean;
  /** What was looked at. */
  readonly what: string;
  /** What was seen. */
  readonly words: string;
  /** What to do about it, empty when it is well. */
  readonly remedy: string;
}

/** A finding on one line, or two with its remedy. */
export function findingText({ ok, what, words, remedy }: Finding): string {
  const line = plainText(`${ok ? "ok  " : "FAIL"}  ${what}: ${words}`);
  return `${line}\n${remedy === "" ? "" : `      ${plainText(remedy)}\n`}`;
}

/** Everything that the configuration reaches out to. */
export async function probeAll(config: Config): Promise<Finding[]> {
  const probes = [
    ...(config.smtp ? [probeMx(config.site.address)] : []),
    ...(config.outbound ? [probeRelay(config.outbound.relay)] : []),
    ...(config.smtp?.front ? [probeFront(config.smtp.front, config.smtp.maxSizeBytes)] : []),
  ];
  const neighbours = config.neighbours.map((neighbour) => probeNeighbour(neighbour, config));
  return [...(await Promise.all(probes)), ...(await Promise.all(neighbours)).flat()];
}

/** Prints every finding; 69 when one is bad. */
export async function onlineCommand(
  file: string,
  out: Output,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  const findings = await probeAll(loadConfig(file, env));
  out.stdout(findings.map(findingText).join(""));
  return findings.every(({ ok }) => ok) ? EXIT.ok : EXIT.unavailable;
}

/** What its roads need: its domain takes mail, its KX port answers. */
export async function probeNeighbour(neighbour: Neighbour, config: Config): Promise<Finding[]> {
  const { name, mail, kx, dial } = neighbour;
  const probes: Promise<Finding>[] = [];
  if (mail !== undefined && config.outbound) probes.push(probeMailDomain(name, mail));
  if (kx !== undefined && dial) probes.push(probeKx(name, kx, config.kx?.source));
  const findings = await Promise.all(probes);
  if (findings.length > 0) return findings;
  return [{ ok: true, what: name, words: "comes to us; nothing to look at from here", remedy: "" }];
}

async function probeMx(address: string): Promise<Finding> {
  const domain = domainOf(address);
  const hosts = await mailHosts(domain);
  const what = `mail for ${address}`;
  if (hosts.length > 0) return { ok: true, what, words: `goes to ${hosts.join(", ")}`, remedy: "" };
  const remedy =
    `Give ${domain} an MX record that points at this host, or have your mail server hand ` +
    "its mail on.";
  return { ok: false, what, words: `${domain} has no MX and no address`, remedy };
}

async function probeMailDomain(name: string, mail: string): Promise<Finding> {
  const domain = domainOf(mail);
  const hosts = await mailHosts(domain);
  const what = `${name} by mail`;
  if (hosts.length > 0)
    return { ok: true, what, words: `${domain} takes mail at ${hosts[0]}`, remedy: "" };
  const remedy = `Look for a slip in mail = "${mail}"; what the relay resolves on its own is fine.`;
  return { ok: false, what, words: `${domain} has no MX and no address`, remedy };
}

async function mailHosts(domain: string): Promise<string[]> {
  try {
    const records = await within(resolveMx(domain));
    if (records.length > 0) {
      return records.sort((a, b) => a.priority - b.priority).map(({ exchange }) => exchange);
    }
  } catch {
    // Without an MX the address record counts (RFC 5321 section 5.1).
  }
  const found = await Promise.allSettled([within(resolve4(domain)), within(resolve6(domain))]);
  return found.flatMap((one) => (one.status === "fulfilled" ? one.value : []));
}

async function within<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("no answer in time")), PROBE_MS);
  });
  return await Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/** Greeting and EHLO of the relay; sends no mail. */
export async function probeRelay(relay: string): Promise<Finding> {
  const url = new URL(relay);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const port = Number(url.port === "" ? (url.protocol === "smtps:" ? 465 : 25) : url.port);
  const what = `relay ${formatEndpoint({ host, port })}`;
  const remedy = "Start the mail server there, or correct outbound.relay.";
  // TLS from the first byte on shows nothing to this probe but that somebody answers.
  const script = url.protocol === "smtps:" ? [] : ["EHLO kxgw.invalid\r\n", "QUIT\r\n"];
  const seen = await talk({ host, port }, script, /^\d{3} .*\r?\n/m);
  if (seen.error !== undefined) return { ok: false, what, words: seen.error, remedy };
  if (script.length === 0) return { ok: true, what, words: "answers", remedy: "" };
  const [greeting = ""] = seen.text.split(/\r?\n/);
  if (!greeting.startsWith("220")) {
    return { ok: false, what, words: greeting || "closed without a word", remedy };
  }
  const tls = /^250[ -]STARTTLS/im.test(seen.text) ? "offers STARTTLS" : "without TLS";
  return { ok: true, what, words: `greets as "${greeting.slice(4, 120)}", ${tls}`, remedy: "" };
}

/**
 * Whether the mail server in front takes mails as large as we do. What it refuses by its SIZE never
 * gets here, so that nobody but its own log tells of it.
 */
export async function probeFront(front: Endpoint, maxSizeBytes: number): Promise<Finding> {
  const what = `mail server in front, ${formatEndpoint(front)}`;
  const script = ["EHLO kxgw.invalid\r\n", "QUIT\r\n"];
  const { text, error } = await talk(front, script, /^\d{3} .*\r?\n/m);
  if (error !== undefined) {
    return { ok: false, what, words: error, remedy: "Start it, or correct smtp.front." };
  }
  if (!/^250[ -]/m.test(text)) {
    const words = text.split(/\r?\n/)[0] || "closed without a word";
    return { ok: false, what, words, remedy: "It must answer EHLO from this host." };
  }
  // Without a number, or with 0, it has no fixed limit (RFC 1870 section 4).
  const size = Number(/^250[ -]SIZE (\d{1,15})/im.exec(text)?.[1] ?? 0);
  if (size === 0) return { ok: true, what, words: "announces no limit of size", remedy: "" };
  const words = `takes mails of at most ${size} bytes, smtp.max_size is ${maxSizeBytes}`;
  const remedy = "Raise the limit there (docs/mail-servers.md), or lower smtp.max_size.";
  return { ok: size >= maxSizeBytes, what, words, remedy };
}

async function probeKx(name: string, kx: Endpoint, source: string | undefined): Promise<Finding> {
  const what = `${name} by KX at ${formatEndpoint(kx)}`;
  const seen = await talk(kx, [], /^\.\r?\n/m, source);
  const [, version] = /^HELO\r?\n(.*?)\r?\n/m.exec(seen.text) ?? [];
  if (version !== undefined) return { ok: true, what, words: `speaks KX/${version}`, remedy: "" };
  if (seen.text !== "") {
    const words = `says "${seen.text.slice(0, 80)}", which is not KX`;
    return { ok: false, what, words, remedy: "Look for a slip in its kx endpoint." };
  }
  if (seen.error !== undefined && !/ECONNRESET/.test(seen.error)) {
    const remedy = "Ask its operator whether the gateway runs and the port is open.";
    return { ok: false, what, words: seen.error, remedy };
  }
  const remedy =
    "It does not know this host as a peer: its operator has to add us, by the address that we " +
    "come from.";
  return { ok: false, what, words: "takes the connection and closes it without a word", remedy };
}

interface Talk {
  readonly text: string;
  readonly error: string | undefined;
}

/** Says the lines of `script`, each after an answer that `ready` matches; ends after the last. */
async function talk(
  { host, port }: Endpoint,
  script: readonly string[],
  ready: RegExp,
  source?: string,
): Promise<Talk> {
  return await new Promise((resolve) => {
    const lines = [...script];
    let text = "";
    let fresh = "";
    const localAddress = source === undefined ? {} : { localAddress: source };
    const socket = connect({ host, port, ...localAddress });
    const end = (error?: string) => {
      socket.destroy();
      clearTimeout(timer);
      resolve({ text, error });
    };
    const timer = setTimeout(() => end(`no answer within ${PROBE_MS / 1000} s`), PROBE_MS);
    socket.on("error", (error) => end(error.message));
    socket.on("close", () => end());
    socket.on("data", (bytes: Buffer) => {
      text += bytes.toString("latin1");
      fresh += bytes.toString("latin1");
      if (text.length > LINE_BYTES) return end();
      if (!ready.test(fresh)) return;
      fresh = "";
      const next = lines.shift();
      if (next === undefined) return end();
      socket.write(next);
    });
  });
}
