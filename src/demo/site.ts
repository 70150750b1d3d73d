/**
 * A small legacy site in the manner of pksd: it receives incremental mail, merges the keys
 * into its collection, and mails news to its sync sites that are not in the trail.
 * For the demo and the tests with real gateways; it uses real sockets. It accepts more
 * than pksd: all blocks and all forms of packet headers.
 */
import type { AddressInfo } from "node:net";
import { createTransport } from "nodemailer";
import type { SMTPServerOptions } from "smtp-server";
import { Refusal } from "../errors.js";
import { SmtpSessionServer } from "../ingress/smtp-session.js";
import { composeIncremental } from "../mail/compose.js";
import { readHead } from "../mail/head.js";
import { recognise } from "../mail/incremental.js";
import { inTrail } from "../mail/sent-trail.js";
import { domainOf } from "../mail-address.js";
import { encodeArmor, readArmor } from "../openpgp/armor.js";
import type { TransferableKey } from "../openpgp/key.js";
import { assembleKey, encodeKey, keyComponents, readKeys } from "../openpgp/key.js";
import { updateHash } from "../openpgp/update-hash.js";

/** Time limit for a command. */
const COMMAND_MS = 60_000;

/** One mail that a site received. */
export interface ReceivedMail {
  readonly raw: Uint8Array;
  readonly trail: readonly string[];
  readonly fingerprints: readonly string[];
  /** Monotonic milliseconds. */
  readonly at: number;
}

export interface SyncSite {
  readonly address: string;
  readonly port: number;
}

export class LegacySite {
  readonly address: string;
  /** All received mails, in order. */
  readonly received: ReceivedMail[] = [];
  bytesIn = 0;
  bytesOut = 0;
  mailsOut = 0;
  syncSites: readonly SyncSite[] = [];
  readonly #keys = new Map<string, TransferableKey>();
  readonly #server: SmtpSessionServer;
  #lastMessage = 0;

  constructor(address: string) {
    this.address = address;
    const options: SMTPServerOptions = {
      authOptional: true,
      disabledCommands: ["AUTH", "STARTTLS"],
      disableReverseLookup: true,
      logger: false,
      closeTimeout: 1000,
      onData: (stream, _session, callback) => {
        const chunks: Buffer[] = [];
        stream.on("data", (chunk: Buffer) => chunks.push(chunk));
        stream.on("end", () => {
          this.#take(Buffer.concat(chunks)).then(
            () => callback(null, "2.0.0 Queued."),
            (error: Error) => callback(Object.assign(error, { responseCode: 451 })),
          );
        });
      },
    };
    this.#server = new SmtpSessionServer(options, COMMAND_MS);
    this.#server.on("error", () => {
      // Errors of clients are ignored; the tests check what was received.
    });
  }

  /** Listens on a free port of 127.0.0.1, or on `port`, and resolves with it. */
  async start(port = 0): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(port, "127.0.0.1", resolve));
    return (this.#server.server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  /** The update hash of each key of the site, by fingerprint. */
  hashes(): Map<string, string> {
    return new Map([...this.#keys].map(([name, key]) => [name, updateHash(key).hash]));
  }

  /** A user's submission: merged and mailed in full to all sync sites, even without news. */
  async submit(armored: Uint8Array, trail: readonly string[] = []): Promise<void> {
    for (const key of keysIn([armored])) this.#merge(key);
    for (const site of this.syncSites) {
      if (inTrail(trail, site.address)) continue;
      await this.#mail(site, trail, Buffer.from(armored).toString("latin1"));
    }
  }

  async #take(raw: Uint8Array): Promise<void> {
    this.bytesIn += raw.length;
    const { fields, bodyStart } = readHead(raw);
    const mail = recognise(fields, [raw.subarray(bodyStart)]);
    if (mail.command === "reply") return;
    const keys = keysIn(mail.armor);
    const fingerprints = keys.map((key) => key.fingerprint);
    this.received.push({ raw, trail: mail.trail, fingerprints, at: performance.now() });
    const news = keys.filter((key) => this.#merge(key));
    for (const key of news) {
      for (const site of this.syncSites) {
        if (inTrail(mail.trail, site.address)) continue;
        await this.#mail(site, mail.trail, encodeArmor(encodeKey(key)));
      }
    }
  }

  /** Adds a key to the collection; true if it had news. */
  #merge(key: TransferableKey): boolean {
    const held = this.#keys.get(key.fingerprint);
    const merged = held ? assembleKey([...keyComponents(held), ...keyComponents(key)]) : key;
    this.#keys.set(key.fingerprint, merged);
    return held === undefined || updateHash(held).hash !== updateHash(merged).hash;
  }

  async #mail(site: SyncSite, trail: readonly string[], armor: string): Promise<void> {
    this.#lastMessage += 1;
    const domain = domainOf(this.address);
    const raw = composeIncremental({
      to: site.address,
      from: this.address,
      trail,
      site: this.address,
      date: Date.now(),
      messageId: `<${this.#lastMessage}.${process.pid}@${domain}>`,
      armor,
    });
    const transport = createTransport({ host: "127.0.0.1", port: site.port, ignoreTLS: true });
    await transport.sendMail({
      raw: Buffer.from(raw),
      envelope: { from: this.address, to: site.address },
    });
    transport.close();
    this.bytesOut += raw.length;
    this.mailsOut += 1;
  }
}

/** The valid keys of armored texts. */
export function keysIn(texts: readonly Uint8Array[]): TransferableKey[] {
  return texts
    .flatMap((text) => readArmor(text))
    .flatMap((block) => (block instanceof Refusal ? [] : readKeys(block.data)))
    .filter((key): key is TransferableKey => !(key instanceof Refusal));
}
