/**
 * Network checks for `kxgw check --online`, `kxgw peers test` and `kxgw doctor`: the site has an MX
 * record, the relay greets and offers TLS, KX peers answer (`probe-kx.ts`), and no two peers
 * resolve to one address. Each check has a time limit, sends nothing
 * that would be stored, and returns a finding with a remedy.
 */
import { lookup, resolve4, resolve6, resolveMx } from "node:dns/promises";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { connect as connectTls, rootCertificates } from "node:tls";
import type { Config, Endpoint, Neighbour } from "../config/config.js";
import { loadConfig } from "../config/load.js";
import { goesByKx } from "../config/paths.js";
import { formatEndpoint } from "../config/units.js";
import { EXIT } from "../errors.js";
import { plainIp } from "../ip-address.js";
import { domainOf } from "../mail-address.js";
import type { Finding } from "./finding.js";
import { findingText, PROBE_MS } from "./finding.js";
import type { Output } from "./output.js";
import { probeKx } from "./probe-kx.js";
import { probeLocal } from "./probe-local.js";
import { probeRecon } from "./probe-recon.js";
import { probeShared } from "./probe-shared.js";

const LINE_BYTES = 4096;

/** Checks everything that the configuration connects to. */
export async function probeAll(config: Config): Promise<Finding[]> {
  const probes = [
    ...(config.smtp ? [probeMx(config.site.address)] : []),
    ...(config.outbound ? [probeRelay(config.outbound.relay, config.outbound.ca)] : []),
    ...(config.local ? [probeLocal(config.local)] : []),
    ...(config.smtp?.front ? [probeFront(config.smtp.front, config.smtp.maxSizeBytes)] : []),
  ];
  const neighbours = config.neighbours.map((neighbour) => probeNeighbour(neighbour, config));
  const followed = config.recon.map((server) => probeRecon(server));
  const findings = [
    ...(await probeShared(config)),
    ...(await Promise.all(probes)),
    ...(await Promise.all([...neighbours, ...followed])).flat(),
  ];
  return [...findings, ...(await probeSharedNames(config))];
}

/** Prints all findings; 69 if a check failed. */
export async function onlineCommand(
  file: string,
  out: Output,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  const findings = await probeAll(loadConfig(file, env));
  out.stdout(findings.map(findingText).join(""));
  return findings.every(({ ok }) => ok) ? EXIT.ok : EXIT.unavailable;
}

/** Checks the paths to a neighbour: the domain of its address, its KX port. */
export async function probeNeighbour(neighbour: Neighbour, config: Config): Promise<Finding[]> {
  const { name, mail, kx } = neighbour;
  const probes: Promise<Finding>[] = [];
  if (mail !== undefined && config.outbound) probes.push(probeMailDomain(name, mail));
  if (kx !== undefined && neighbour.dial) probes.push(probeKx({ ...neighbour, kx }, config));
  const findings = await Promise.all(probes);
  if (findings.length > 0) return findings;
  return [
    {
      ok: true,
      what: name,
      words: "connects to this gateway; nothing to check from here",
      remedy: "",
    },
  ];
}

async function probeMx(address: string): Promise<Finding> {
  const domain = domainOf(address);
  const hosts = await mailHosts(domain);
  const what = `mail for ${address}`;
  if (hosts.length > 0) return { ok: true, what, words: `goes to ${hosts.join(", ")}`, remedy: "" };
  const remedy =
    `Add an MX record for ${domain} that names this host, or let your mail server forward its ` +
    "mail to the gateway.";
  return { ok: false, what, words: `${domain} has no MX and no address record`, remedy };
}

async function probeMailDomain(name: string, mail: string): Promise<Finding> {
  const domain = domainOf(mail);
  const hosts = await mailHosts(domain);
  const what = `${name} by mail`;
  if (hosts.length > 0)
    return { ok: true, what, words: `mail for ${domain} goes to ${hosts[0]}`, remedy: "" };
  const remedy = `Check mail = "${mail}". Ignore this if the relay routes the domain itself.`;
  return { ok: false, what, words: `${domain} has no MX and no address record`, remedy };
}

async function mailHosts(domain: string): Promise<string[]> {
  try {
    const records = await within(resolveMx(domain));
    if (records.length > 0) {
      return records.sort((a, b) => a.priority - b.priority).map(({ exchange }) => exchange);
    }
  } catch {
    // Without an MX the address record is used (RFC 5321 section 5.1).
  }
  const found = await Promise.allSettled([within(resolve4(domain)), within(resolve6(domain))]);
  return found.flatMap((one) => (one.status === "fulfilled" ? one.value : []));
}

async function within<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${PROBE_MS / 1000} s`)), PROBE_MS);
  });
  return await Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/** Host names of KX peers that resolve to one address; `check` compares literal addresses. */
async function probeSharedNames({ neighbours }: Config): Promise<Finding[]> {
  const named = neighbours.flatMap(({ name, via, kx, tls }) =>
    kx !== undefined && goesByKx({ via, kx }) && tls === undefined ? [{ name, host: kx.host }] : [],
  );
  const found = await Promise.all(
    named.map(async ({ name, host }) => {
      const addresses = await within(lookup(host, { all: true })).catch(() => []);
      return { name, host, ips: addresses.map(({ address }) => plainIp(address) ?? address) };
    }),
  );
  return found.flatMap(({ name, host, ips }, index) => {
    const before = found.slice(0, index);
    const other = before.find((one) => one.host !== host && one.ips.some((ip) => ips.includes(ip)));
    if (other === undefined) return [];
    const what = `${other.name} and ${name} by KX`;
    const remedy = "Use kxs:// with a pin for each, or different addresses.";
    const words =
      "resolve to one address, so that a connection may be attributed to the wrong peer";
    return [{ ok: false, what, words, remedy }];
  });
}

/** Reads greeting and EHLO reply of the relay, over TLS for smtps://. Sends no mail. */
export async function probeRelay(relay: string, ca?: string): Promise<Finding> {
  const url = new URL(relay);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const isSecure = url.protocol === "smtps:";
  const port = Number(url.port === "" ? (isSecure ? 465 : 25) : url.port);
  const what = `relay ${formatEndpoint({ host, port })}`;
  const seen = await talk({ host, port }, isSecure ? trusted(ca) : undefined);
  const [greeting = ""] = seen.text.split(/\r?\n/);
  if (!greeting.startsWith("220")) {
    const words = seen.error ?? (greeting || "connection closed without a greeting");
    const isCertificate = isSecure && /certificate|altnames|self.signed/i.test(words);
    const remedy = isCertificate
      ? "Set outbound.ca to its CA, or use the host name of its certificate."
      : "Start the mail server there, or correct outbound.relay.";
    return { ok: false, what, words, remedy };
  }
  const offers = /^250[ -]STARTTLS/im.test(seen.text) ? "offers STARTTLS" : "without TLS";
  const tls = isSecure ? "over TLS with a valid certificate" : offers;
  return { ok: true, what, words: `greets as "${greeting.slice(4, 120)}", ${tls}`, remedy: "" };
}

/**
 * Checks that the mail server in front accepts mails as large as the gateway does. A mail that it
 * refuses by its SIZE limit never reaches the gateway and is only in the log of that server.
 */
export async function probeFront(front: Endpoint, maxSizeBytes: number): Promise<Finding> {
  const what = `mail server in front, ${formatEndpoint(front)}`;
  const { text, error } = await talk(front, undefined);
  if (error !== undefined) {
    return { ok: false, what, words: error, remedy: "Start it, or correct smtp.front." };
  }
  if (!/^250[ -]/m.test(text)) {
    const words = text.split(/\r?\n/)[0] || "connection closed without a greeting";
    return { ok: false, what, words, remedy: "Allow EHLO from this host there." };
  }
  // No number, or 0, means no fixed limit (RFC 1870 section 4).
  const size = Number(/^250[ -]SIZE (\d{1,15})/im.exec(text)?.[1] ?? 0);
  if (size === 0) return { ok: true, what, words: "announces no size limit", remedy: "" };
  const words = `accepts mails up to ${size} bytes, smtp.max_size is ${maxSizeBytes}`;
  const remedy = "Raise its limit (docs/mail-servers.md), or lower smtp.max_size.";
  return { ok: size >= maxSizeBytes, what, words, remedy };
}

/** The CAs that are trusted for the relay, the same as for sending mail. */
function trusted(ca: string | undefined): { readonly ca?: string[] } {
  return ca === undefined ? {} : { ca: [...rootCertificates, readFileSync(ca, "utf8")] };
}

interface Talk {
  readonly text: string;
  readonly error: string | undefined;
}

/** Sends EHLO after the greeting and QUIT after the reply to it. */
async function talk(
  endpoint: Endpoint,
  tls: { readonly ca?: string[] } | undefined,
): Promise<Talk> {
  return await new Promise((resolve) => {
    const lines = ["EHLO kxgw.invalid\r\n", "QUIT\r\n"];
    let text = "";
    let fresh = "";
    const socket = tls
      ? connectTls({ ...endpoint, ...tls, minVersion: "TLSv1.2", servername: nameOf(endpoint) })
      : connect(endpoint);
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
      if (!/^\d{3} .*\r?\n/m.test(fresh)) return;
      fresh = "";
      const next = lines.shift();
      if (next === undefined) return end();
      socket.write(next);
    });
  });
}

/** The server name of the TLS handshake, never an address (RFC 6066 section 3). */
function nameOf({ host }: Endpoint): string {
  return plainIp(host) === undefined ? host : "";
}
