/**
 * What one gateway says, read off the wire as it leaves: each action is one KX message, each part
 * one mail. Holds it against the ledger (announced is stored, announcements leave no gap, nothing
 * is mailed to a site in the trail) and counts by kind, so that silence can be told from talk.
 */

import { NO_FEATURES } from "../../src/kx/messages.js";
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

export class Wiretap {
  readonly #ledger: Ledger;
  /** Number that was announced last, by line. */
  readonly #announced = new Map<number, number>();
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
  }

  /** A KX message leaves. */
  said(line: number, bytes: Uint8Array, log: UpdateLog): void {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const [, commandLine = ""] = buffer.toString("latin1", 0, HEAD_BYTES).split("\r\n");
    const [command = "", length] = commandLine.split(" ");
    if (command !== "IHAVE") return this.#count(command);
    const parser = new Parser();
    // The greeting is text; after it both sides use all features, or none.
    if (length !== undefined) parser.features = { ...NO_FEATURES, sha256: true, octets: true };
    const [message] = parser.push(buffer);
    if (message?.command !== "IHAVE") throw new Error(`an IHAVE that is ${message?.command}`);
    const { announcements, inReplyTo } = message;
    const isNotice = inReplyTo === undefined;
    this.#count(isNotice ? "IHAVE NOTIFY" : command);
    for (const { number, hash } of announcements) {
      this.#ledger.announces(number, hash);
      if (isNotice) this.#follow(line, number, log);
    }
    if (isNotice && announcements.length === 0) this.#announced.set(line, 0);
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
