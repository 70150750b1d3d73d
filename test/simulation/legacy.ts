/**
 * The servers of the mail network, as models: pksd (merges into its own key database and mails the
 * delta to those of its syncsites that are not in the trail, with itself added to it), SKS (merges,
 * passes nothing on that came by mail, mails the whole key for what users hand in) and Hockeypuck
 * (takes no mail; mails whole keys without any header but the subject). They refuse what was seen
 * to be refused: new-format packet headers, a broken CRC, a key that shows no user id (pksd). They
 * live on disks that never fail: their faults are those of the mail between them.
 */
import { Refusal } from "../../src/errors.js";
import { readHead } from "../../src/mail/head.js";
import { encodeArmor, readArmor } from "../../src/openpgp/armor.js";
import {
  assembleKey,
  type Component,
  encodeKey,
  keyComponents,
  readKeys,
  type TransferableKey,
} from "../../src/openpgp/key.js";
import { TAG } from "../../src/openpgp/packet.js";
import { contentOf } from "./material.js";
import type { Answer, Mail, MailHost, Postal } from "./postal.js";

export type LegacyKind = "pksd" | "sks" | "hockeypuck";

/** Where a site's mail goes. */
export interface SyncSite {
  readonly address: string;
}

export class LegacySite implements MailHost {
  readonly name: string;
  readonly domain: string;
  readonly address: string;
  readonly kind: LegacyKind;
  readonly sites: readonly SyncSite[];
  /** Pieces of keys that it has. */
  readonly content = new Set<string>();
  readonly #postal: Postal;
  readonly #keys = new Map<string, TransferableKey>();
  #mails = 0;
  /** Mails that it could not read, as it told nobody. */
  refused = 0;

  constructor(name: string, kind: LegacyKind, sites: readonly SyncSite[], postal: Postal) {
    this.name = name;
    this.domain = `${name}.example`;
    this.address = addressOf(name);
    this.kind = kind;
    this.sites = sites;
    this.#postal = postal;
  }

  /** A mail; the mail system says 250 whatever the keyserver makes of it. */
  deliver(mail: Mail, answer: (answer: Answer) => void): void {
    answer("taken");
    if (this.kind === "hockeypuck") return;
    const { fields, bodyStart } = readHead(mail.raw);
    const text = Buffer.from(mail.raw).toString("latin1").replaceAll("\r\n", "\n").toLowerCase();
    const passed = (address: string) =>
      text.includes(`x-keyserver-sent: ${address.toLowerCase()}\n`);
    if (passed(this.address)) return;
    const trail = fields
      .filter(({ name }) => name.toLowerCase() === "x-keyserver-sent")
      .map(({ value }) => value);
    const [block] = readArmor(mail.raw.subarray(bodyStart));
    if (block === undefined || block instanceof Refusal || isNewFormat(block.data)) {
      this.refused += 1;
      return;
    }
    for (const key of readKeys(block.data)) {
      const delta = key instanceof Refusal ? undefined : this.#merge(key);
      if (delta === undefined || this.kind !== "pksd") continue;
      const left = this.sites.filter(({ address }) => !passed(address));
      this.#send(delta, left, trail);
    }
  }

  /** A key from a user; true when it was news and is passed on. */
  submit(key: TransferableKey): boolean {
    const delta = this.#merge(key);
    if (delta === undefined) return false;
    const whole = this.#keys.get(key.fingerprint) ?? delta;
    this.#send(this.kind === "pksd" ? delta : whole, this.sites, []);
    return true;
  }

  /** Adds what is new; returns that, or undefined when nothing is or the key is refused. */
  #merge(key: TransferableKey): TransferableKey | undefined {
    const known = this.#keys.get(key.fingerprint);
    const isBare = !key.userIds.some(({ packet }) => packet.tag === TAG.userId);
    if (this.kind === "pksd" && isBare) {
      this.refused += 1;
      return undefined;
    }
    const components = keyComponents(key).flatMap((component, index) => {
      const news = this.#newsOf(key, component);
      return news === undefined && index > 0 ? [] : [news ?? { ...component, signatures: [] }];
    });
    const isNews = contentOf(key).some((piece) => !this.content.has(piece));
    if (!isNews) return undefined;
    const delta = assembleKey(components);
    const all = known === undefined ? [] : keyComponents(known);
    this.#keys.set(key.fingerprint, assembleKey([...all, ...keyComponents(key)]));
    for (const piece of contentOf(key)) this.content.add(piece);
    return delta;
  }

  /** A component with those of its signatures that are new; undefined when nothing of it is. */
  #newsOf(key: TransferableKey, component: Component): Component | undefined {
    const { packet } = component;
    const alone = (signatures: Component["signatures"]) =>
      contentOf({ ...key, primary: component, userIds: [], subkeys: [] }).slice(
        0,
        1 + signatures.length,
      );
    const pieces = alone(component.signatures);
    const signatures = component.signatures.filter((_, index) => {
      return !this.content.has(pieces[index + 1] ?? "");
    });
    if (signatures.length === 0 && this.content.has(pieces[0] ?? "")) return undefined;
    return { packet, signatures };
  }

  #send(key: TransferableKey, sites: readonly SyncSite[], trail: readonly string[]): void {
    for (const { address } of sites) {
      this.#mails += 1;
      const raw = Buffer.from(this.#compose(key, address, trail), "latin1");
      this.#postal.post({ from: this.name, sender: this.address, recipient: address, raw });
    }
  }

  #compose(key: TransferableKey, to: string, trail: readonly string[]): string {
    const armor = encodeArmor(encodeKey(key)).replaceAll(/\r?\n/g, "\r\n");
    if (this.kind === "hockeypuck") return `Subject: ADD\r\n\r\n${armor}`;
    return [
      `To: ${to}`,
      `From: PGP Key Server Administrator <${this.address}>`,
      "Subject: incremental",
      ...[...trail, this.address].map((address) => `X-KeyServer-Sent: ${address}`),
      "Precedence: list",
      `Message-ID: <${this.#mails}@${this.domain}>`,
      "MIME-Version: 1.0",
      "Content-type: application/pgp-keys",
      "",
      armor,
    ].join("\r\n");
  }
}

export function addressOf(name: string): string {
  return `keys@${name}.example`;
}

/** Whether a packet has a header that pksd cannot read. */
function isNewFormat(data: Uint8Array): boolean {
  return ((data[0] ?? 0) & 0x40) !== 0;
}
