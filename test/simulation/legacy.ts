/**
 * The servers of the mail network, as models of what was seen of the real ones: pksd merges into
 * its own key database, keeps one subkey of the mail that came last and so loses one that the mail
 * omits, refuses keys without a user id or with a user attribute, and mails the delta to those of
 * its syncsites that are not in the trail. SKS merges, loses a key with a subkey of version 5,
 * passes nothing on that came by mail, and mails the whole key for what users hand in. A verifying
 * server drops what shows no self-signature, in silence. Hockeypuck mails whole keys without any
 * header but the subject.
 * All refuse new-format packet headers and a broken CRC. Some refuse some keys for good, or fail on
 * them, at the end of DATA. They live on disks that never fail.
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
import { isSelfSignature } from "../../src/openpgp/signature.js";
import { contentOf, isOfSubkey } from "./material.js";
import type { Answer, Mail, MailHost, Postal } from "./postal.js";

export const LEGACY_KINDS = ["pksd", "sks", "verifier", "hockeypuck"] as const;
export type LegacyKind = (typeof LEGACY_KINDS)[number];

/** What a site does with some keys: a share of them, by their fingerprints. */
export interface Temper {
  /** Refuses them for good. */
  readonly refuses: number;
  /** Fails on them for now. */
  readonly fails: number;
  /** Whether it takes them in the end; else it never does. */
  readonly relents: boolean;
}

export const EVEN: Temper = { refuses: 0, fails: 0, relents: true };

/** Where a site's mail goes. */
export interface SyncSite {
  readonly address: string;
}

/** What came of a key that was handed to a server. */
export type Taken = "inserted" | "updated" | "ignored";

export class LegacySite implements MailHost {
  readonly name: string;
  readonly domain: string;
  readonly address: string;
  readonly kind: LegacyKind;
  readonly sites: readonly SyncSite[];
  /** Pieces of keys that it has. */
  readonly content = new Set<string>();
  readonly #temper: Temper;
  readonly #postal: Postal;
  readonly #keys = new Map<string, TransferableKey>();
  #mails = 0;
  #hasRelented = false;
  /** Mails that it could not read, as it told nobody. */
  refused = 0;
  /** Takes no connection at present. */
  isDown = false;
  /** Keys that came by another way than from gateways. */
  readonly ownKeys = new Set<string>();

  constructor(
    name: string,
    kind: LegacyKind,
    sites: readonly SyncSite[],
    postal: Postal,
    temper: Temper = EVEN,
  ) {
    this.name = name;
    this.domain = `${name}.example`;
    this.address = addressOf(name);
    this.kind = kind;
    this.sites = sites;
    this.#postal = postal;
    this.#temper = temper;
  }

  /** From now on it takes what it only refused or failed on for a while. */
  relent(): void {
    this.#hasRelented = this.#temper.relents;
  }

  /** It fails on nothing any more, but refuses what it never takes. */
  settle(): void {
    this.#hasRelented = true;
  }

  /** Whether it takes a key in the end. */
  everTakes(fingerprint: string): boolean {
    return this.#temper.relents || this.#verdictOn(fingerprint) === undefined;
  }

  /** What it has of the pieces of a key, without those that a server of its kind cannot take. */
  expected(pieces: readonly string[]): string[] {
    return this.kind === "pksd" ? pieces.filter((piece) => !isOfSubkey(piece)) : [...pieces];
  }

  /** Whether it has a subkey of the key. */
  hasSubkey(fingerprint: string): boolean {
    return (this.#keys.get(fingerprint)?.subkeys.length ?? 0) > 0;
  }

  /** The packets of a key as it serves them. */
  served(fingerprint: string): TransferableKey | undefined {
    return this.#keys.get(fingerprint);
  }

  /** At the end of DATA or of a request: what it has against these keys. */
  judge(keys: readonly TransferableKey[]): "refuses" | "fails" | undefined {
    const verdicts = keys.map(({ fingerprint }) => this.#verdictOn(fingerprint));
    const isOver = this.#hasRelented && this.#temper.relents;
    if (isOver) return undefined;
    if (verdicts.includes("refuses")) return "refuses";
    return this.#hasRelented ? undefined : verdicts.find((one) => one === "fails");
  }

  #verdictOn(fingerprint: string): "refuses" | "fails" | undefined {
    const { refuses, fails } = this.#temper;
    const [low = 0, salt = 0] = [fingerprint.slice(-8), `${this.name}`].map((text, index) =>
      index === 0 ? Number.parseInt(text, 16) : text.charCodeAt(text.length - 1),
    );
    const share = ((low ^ (salt * 0x9e3779b1)) >>> 0) / 2 ** 32;
    if (share < refuses) return "refuses";
    return share < refuses + fails ? "fails" : undefined;
  }

  /** What its mail system says at the end of DATA; undefined when it takes the mail. */
  screen(mail: Mail): { readonly code: number; readonly words: string } | undefined {
    const verdict = this.judge(this.#read(mail));
    if (verdict === undefined) return undefined;
    return verdict === "refuses"
      ? { code: 554, words: "5.6.0 this key is not taken here" }
      : { code: 451, words: "4.3.0 the key database is busy" };
  }

  #read({ raw }: Mail): TransferableKey[] {
    const { bodyStart } = readHead(raw);
    const [block] = readArmor(raw.subarray(bodyStart));
    if (block === undefined || block instanceof Refusal || isNewFormat(block.data)) return [];
    return readKeys(block.data).filter((key) => !(key instanceof Refusal)) as TransferableKey[];
  }

  /** A mail; the mail system says 250 whatever the keyserver makes of it. */
  deliver(mail: Mail, answer: (answer: Answer) => void): void {
    answer("taken");
    if (this.kind === "hockeypuck") return;
    const { fields } = readHead(mail.raw);
    const text = Buffer.from(mail.raw).toString("latin1").replaceAll("\r\n", "\n").toLowerCase();
    const passed = (address: string) =>
      text.includes(`x-keyserver-sent: ${address.toLowerCase()}\n`);
    if (passed(this.address)) return;
    const trail = fields
      .filter(({ name }) => name.toLowerCase() === "x-keyserver-sent")
      .map(({ value }) => value);
    const keys = this.#read(mail);
    if (keys.length === 0) this.refused += 1;
    for (const key of keys) {
      const delta = this.#merge(key);
      if (delta === undefined || this.kind !== "pksd") continue;
      const left = this.sites.filter(({ address }) => !passed(address));
      this.#send(delta, left, trail);
    }
  }

  /** A key by HKP, as a gateway posts it. */
  post(key: TransferableKey): Taken {
    const isKnown = this.#keys.has(key.fingerprint);
    if (this.#merge(key) === undefined) return "ignored";
    return isKnown ? "updated" : "inserted";
  }

  /** A key from a user; returns what is passed on, or undefined when it was no news. */
  submit(key: TransferableKey): TransferableKey | undefined {
    this.ownKeys.add(key.fingerprint);
    const delta = this.#merge(key, false);
    if (delta === undefined) return undefined;
    const sent = this.kind === "pksd" ? delta : (this.#keys.get(key.fingerprint) ?? delta);
    this.#send(sent, this.sites, []);
    return sent;
  }

  /** A key that it has from somewhere; nobody hears of it. False when it does not take all. */
  learn(key: TransferableKey): boolean {
    this.ownKeys.add(key.fingerprint);
    this.#merge(key, false);
    return this.expected(contentOf(key)).every((piece) => this.content.has(piece));
  }

  /** A mail with a key, whose trail claims that another site has it as well. */
  claim(key: TransferableKey, to: string, other: string): Mail {
    this.#mails += 1;
    const raw = Buffer.from(this.#incremental(key, to, [other]), "latin1");
    return { from: this.name, sender: this.address, recipient: to, raw };
  }

  /** Adds what is new; returns that, or undefined when nothing is or the key is refused. */
  #merge(came: TransferableKey, isMail = true): TransferableKey | undefined {
    const key = this.#usable(came);
    if (key === undefined) {
      this.refused += 1;
      return undefined;
    }
    const known = this.#keys.get(key.fingerprint);
    const components = keyComponents(key).flatMap((component, index) => {
      const news = this.#newsOf(key, component);
      return news === undefined && index > 0 ? [] : [news ?? { ...component, signatures: [] }];
    });
    const isNews = contentOf(key).some((piece) => !this.content.has(piece));
    const all = known === undefined ? [] : keyComponents(known);
    const isSubkey = ({ packet }: Component) => packet.tag === TAG.publicSubkey;
    // pksd has the subkey of what came last, or none.
    const kept = this.kind === "pksd" && isMail ? all.filter((one) => !isSubkey(one)) : all;
    if (!isNews && kept.length === all.length) return undefined;
    const merged = assembleKey([...kept, ...keyComponents(key)]);
    this.#keys.set(key.fingerprint, merged);
    for (const piece of known === undefined ? [] : contentOf(known)) this.content.delete(piece);
    for (const piece of contentOf(merged)) this.content.add(piece);
    return isNews ? assembleKey(components) : undefined;
  }

  /** What a server of its kind reads of a key; undefined when it takes nothing. */
  #usable(key: TransferableKey): TransferableKey | undefined {
    const isNamed = key.userIds.some(({ packet }) => packet.tag === TAG.userId);
    const isOdd = ({ packet }: Component) => packet.body[0] !== 4;
    if (this.kind === "sks") return key.subkeys.some(isOdd) ? undefined : key;
    if (this.kind === "pksd") {
      // Its parser gives up at a user attribute, so that the mail that has it changes nothing.
      const isIllustrated = key.userIds.some(({ packet }) => packet.tag === TAG.userAttribute);
      if (!isNamed || isIllustrated) return undefined;
      return { ...key, subkeys: key.subkeys.filter((one) => !isOdd(one)).slice(0, 1) };
    }
    const isBound = ({ signatures }: Component) =>
      signatures.some((one) => isSelfSignature(key, one));
    const [userIds, subkeys] = [key.userIds.filter(isBound), key.subkeys.filter(isBound)];
    const isAny = userIds.length > 0 || this.#keys.has(key.fingerprint);
    return isAny ? { ...key, userIds, subkeys } : undefined;
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
    if (this.kind !== "hockeypuck") return this.#incremental(key, to, trail);
    return `Subject: ADD\r\n\r\n${armorOf(key)}`;
  }

  #incremental(key: TransferableKey, to: string, trail: readonly string[]): string {
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
      armorOf(key),
    ].join("\r\n");
  }
}

export function addressOf(name: string): string {
  return `keys@${name}.example`;
}

function armorOf(key: TransferableKey): string {
  return encodeArmor(encodeKey(key)).replaceAll(/\r?\n/g, "\r\n");
}

/** Whether a packet has a header that pksd cannot read. */
function isNewFormat(data: Uint8Array): boolean {
  return ((data[0] ?? 0) & 0x40) !== 0;
}
