/**
 * What one gateway says, read off the wire as it leaves: each action is one KX message, each part
 * one mail. Holds it against the ledger (announced is stored, announcements leave no gap, nothing
 * is mailed to a site in the trail, a receipt is true, a peer of KX/1.0 gets nothing of KX/1.1) and
 * counts by kind, so that silence can be told from talk.
 */

import { type Announcement, TAG_11 } from "../../src/kx/messages.js";
import { inflated, readAnnouncements } from "../../src/kx/octets.js";
import { Parser } from "../../src/kx/parser.js";
import type { UpdateLog } from "../../src/log/update-log.js";
import { headerValues, readHead } from "../../src/mail/head.js";
import { inTrail } from "../../src/mail/sent-trail.js";
import type { Seq, UpdateHash } from "../../src/update.js";
import { type Ledger, Violation } from "./ledger.js";
import type { Mail } from "./postal.js";

/** Messages of a kind, "IHAVE NOTIFY" apart from an IHAVE that answers, and mails. */
export type Said = Map<string, number>;

const HEAD_BYTES = 64;
/** Between two receipts on a line (docs/protocol.md). */
const RECEIPT_MS = 1000;

/** What was said and heard of KX/1.1 on a line. */
interface Extension {
  own: string;
  /** The first octets of the peer, up to its tag. */
  theirs: string;
  /** The last receipt: its number, and when it was sent. */
  done: number | undefined;
  doneAt: number;
}

/** To whom something is said; no ledger if it may lie. */
interface Peer {
  readonly name: string;
  readonly ledger: Ledger | undefined;
}

export class Wiretap {
  readonly #ledger: Ledger;
  /** Number that was announced last, by line. */
  readonly #announced = new Map<number, number>();
  readonly #extensions = new Map<number, Extension>();
  #said: Said = new Map();

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** What was said since the last call. */
  take(): Said {
    const said = this.#said;
    this.#said = new Map();
    return said;
  }

  closed(line: number): void {
    this.#announced.delete(line);
    this.#extensions.delete(line);
  }

  /** Octets of the peer come in. */
  heard(line: number, bytes: Uint8Array): void {
    const extension = this.#extensionOf(line);
    const missing = TAG_11.length - extension.theirs.length;
    if (missing > 0) extension.theirs += Buffer.from(bytes.subarray(0, missing)).toString("latin1");
  }

  #extensionOf(line: number): Extension {
    const known = this.#extensions.get(line);
    const extension = known ?? { own: "", theirs: "", done: undefined, doneAt: -Infinity };
    this.#extensions.set(line, extension);
    return extension;
  }

  /** A message of KX/1.1 leaves, which a peer of KX/1.0 must not get. */
  #extended(line: number, command: string): Extension {
    const extension = this.#extensionOf(line);
    if (extension.own !== TAG_11 || extension.theirs !== TAG_11) {
      const text = `${this.#ledger.name} says ${command} on line ${line} to "${extension.theirs}"`;
      throw new Violation("a peer of KX/1.0 gets nothing of KX/1.1", text);
    }
    return extension;
  }

  /** A receipt leaves: it is not early, and says what is so. */
  #receipt(line: number, bytes: Uint8Array, now: number, peer: Peer): void {
    const extension = this.#extended(line, "DONE");
    const [done] = new Parser(undefined, true)
      .push(Buffer.concat([Buffer.from(`${TAG_11}\r\nHELO\r\n1.0\r\n.\r\n`), bytes]))
      .slice(1);
    if (done?.command !== "DONE") throw new Violation("no bug", "a DONE that cannot be read");
    if (now - extension.doneAt < RECEIPT_MS) {
      const ms = now - extension.doneAt;
      const text = `${this.#ledger.name}: two receipts on line ${line} in ${ms} ms`;
      throw new Violation("a receipt is true", text);
    }
    const { ledger } = peer;
    if (ledger !== undefined) this.#ledger.receipt(peer.name, done, extension.done, ledger);
    extension.done = done.number;
    extension.doneAt = now;
  }

  /** A KX message leaves. */
  said(line: number, bytes: Uint8Array, log: UpdateLog, now: number, peer: Peer): void {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const [tag = "", command = "", reply = ""] = buffer
      .toString("latin1", 0, HEAD_BYTES)
      .split("\r\n");
    // With octets the command line has lengths.
    const [name = ""] = command.split(" ");
    const isNotice = name === "IHAVE" && (reply === "NOTIFY" || reply === "");
    this.#count(isNotice ? "IHAVE NOTIFY" : name);
    if (name === "HELO") this.#extensionOf(line).own = tag;
    if (name === "OPEN" || command !== name) this.#extended(line, command);
    if (name === "DONE") this.#receipt(line, bytes, now, peer);
    if (name !== "IHAVE") return;
    const lines = announcedBy(buffer);
    for (const { number, hash } of lines) {
      this.#ledger.announces(number, hash);
      if (isNotice) this.#follow(line, number, log);
    }
    if (isNotice && lines.length === 0) this.#announced.set(line, 0);
  }

  #follow(line: number, number: number, log: UpdateLog): void {
    const last = this.#announced.get(line);
    this.#announced.set(line, number);
    if (last === undefined) return;
    for (let missing = last + 1; missing < number; missing += 1) {
      const entry = log.entry(missing as Seq);
      if (entry === undefined || this.#ledger.isUncarried(entry.hash)) continue;
      const text = `${this.#ledger.name} says ${number} on line ${line} after ${last}`;
      throw new Violation("announcements leave no gap", text);
    }
    if (number <= last) {
      const text = `${this.#ledger.name} says ${number} on line ${line} after ${last}`;
      throw new Violation("announcements leave no gap", text);
    }
  }

  /** A mail leaves with these updates; `first` are those that were not tried before. */
  mailed(
    { raw, recipient }: Mail,
    updates: readonly UpdateHash[],
    first: readonly UpdateHash[],
  ): void {
    this.#count("mail");
    for (const hash of first) this.#ledger.mails(hash, recipient);
    const trail = headerValues(readHead(raw).fields, "X-KeyServer-Sent");
    if (updates.length > 0 && inTrail(trail, recipient)) {
      const text = `${recipient} is in the trail of its mail`;
      throw new Violation("never mailed to a site in the trail", text);
    }
  }

  /** A key is posted to the keyserver beside it. */
  posted(): void {
    this.#count("post");
  }

  #count(kind: string): void {
    this.#said.set(kind, (this.#said.get(kind) ?? 0) + 1);
  }
}

/** The announcements of an IHAVE: as lines, or as octets with a SHA-256 each. */
function announcedBy(message: Buffer): Pick<Announcement, "number" | "hash">[] {
  const head = message.toString("latin1").split("\r\n");
  const [tag = "", command = "", request = "", ...lines] = head;
  const [, length, whole] = command.split(" ");
  if (length === undefined) {
    return lines.slice(0, -2).map((line) => {
      const [number = "", , hash = ""] = line.split(" ");
      return { number: Number(number), hash: hash as UpdateHash };
    });
  }
  const at = tag.length + command.length + request.length + 6;
  const octets = message.subarray(at, at + Number(length));
  const data = whole === undefined ? octets : inflated(octets, Number(whole));
  const announcements = data && readAnnouncements(data, true, data.length);
  if (announcements === undefined) throw new Violation("no bug", "an IHAVE that cannot be read");
  return announcements;
}
