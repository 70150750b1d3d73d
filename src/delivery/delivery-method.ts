/**
 * The interface between a lane and a delivery method. A method splits an update into parts for its
 * destination and delivers them one by one. This file implements the mail method, whose parts are
 * mails of the dialect. `local-*.ts` implement the methods for the local keyserver. A method has no
 * retry schedule and does not access the log.
 */

import { Refusal } from "../errors.js";
import { neverSent } from "../openpgp/fragments.js";
import { keyPackets, readKeys, type TransferableKey } from "../openpgp/key.js";
import { type Envelope, MailPack, type Outmail, OutmailMemory, outmails } from "../outmail.js";
import type { ServerKind } from "../server-kinds.js";
import type { Fingerprint, Seq, UpdateHash } from "../update.js";
import type { KeyCompletion } from "./completion.js";
import type { Outcome, Relay } from "./relay.js";

/** An update as read from the log. */
export interface Outgoing {
  readonly seq: Seq;
  readonly hash: UpdateHash;
  readonly fingerprint: Fingerprint;
  readonly body: Uint8Array;
  /** The stored skeleton of its key. */
  readonly skeleton: Uint8Array | undefined;
  /** Addresses of sites that have the update. */
  readonly trail: readonly string[];
}

/** A piece of an update that is delivered or refused as a unit. */
export interface Part {
  readonly bytes: number;
  /** Whether no user id is known for the key. The receiver may need one. */
  readonly incomplete: boolean;
  /** Whether the part exceeds the size limit, because a single packet does. */
  readonly oversized: boolean;
  /** Never rejects. Only one call at a time is allowed. */
  deliver(): Promise<Outcome>;
}

/** The only part of an update of which a server of this kind accepts nothing. It is not sent. */
export function nothingFor(kind: ServerKind | undefined): Part {
  const words = `not sent: a server of kind "${kind}" takes nothing of this update`;
  const deliver = async (): Promise<Outcome> => refusal(words);
  return { bytes: 0, incomplete: false, oversized: false, deliver };
}

/**
 * Represents the packets of an update that are not sent. It follows the parts with the other
 * packets. `key` is what the body of the update holds.
 */
export function restFor(key: TransferableKey, kind: ServerKind | undefined): Part[] {
  const count = neverSent(key, kind);
  if (count === 0) return [];
  const share = `${count} of ${keyPackets(key).length} packets`;
  const words = `not sent: a server of kind "${kind}" never takes ${share} of this update`;
  const deliver = async (): Promise<Outcome> => refusal(words);
  return [{ bytes: 0, incomplete: false, oversized: false, deliver }];
}

/**
 * Returns the parts of an update that is sent as mails. `made` builds the mails with a skeleton of
 * its key. For a mail without a user id, `completion` queries the local keyserver. `keyOf` returns
 * the key of the body, if it has been read already.
 */
export function mailParts<Mail extends Pick<Outmail, "incomplete">>(
  update: Outgoing,
  kind: ServerKind | undefined,
  completion: Pick<KeyCompletion, "learn"> | undefined,
  made: (skeleton: Uint8Array | undefined) => readonly Mail[],
  partOf: (mail: Mail) => Part,
  keyOf: () => TransferableKey = () => storedKey(update.body),
): Part[] {
  const mails = made(update.skeleton);
  if (mails.length === 0) return [nothingFor(kind)];
  const parts = mails.map((mail, index) => {
    const part = partOf(mail);
    if (!mail.incomplete || completion === undefined) return part;
    const deliver = async (): Promise<Outcome> => {
      const learnt = await completion.learn(update.fingerprint);
      if (learnt.kind === "failed") return notAsked(learnt.words);
      // The same packets of the update, in the same number of mails.
      const better = learnt.kind === "learnt" ? made(learnt.skeleton)[index] : undefined;
      return await (better === undefined ? part : partOf(better)).deliver();
    };
    return { ...part, deliver };
  });
  return [...parts, ...restFor(keyOf(), kind)];
}

/** The key that a body in the log holds. */
export function storedKey(body: Uint8Array): TransferableKey {
  const [key] = readKeys(body);
  if (key === undefined || key instanceof Refusal) throw new Error("a body in the log is no key");
  return key;
}

/**
 * Delivers a mail and returns what the result proves. A mail without a user id is not sent to a
 * server that is known to refuse it.
 */
export async function deliverMail(
  mail: Pick<Outmail, "incomplete">,
  kind: ServerKind | undefined,
  deliver: () => Promise<Outcome>,
): Promise<Outcome> {
  if (mail.incomplete && kind !== undefined) {
    return refusal(`not sent: no user id of this key is known, and a ${kind} needs one`);
  }
  return provenBy(mail, await deliver());
}

/**
 * Returns what the reply to a mail proves. A positive reply to a mail without a user id proves
 * nothing: the outcome is a refusal of this update, so that it is offered again when more of its
 * key is known.
 */
export function provenBy({ incomplete }: Pick<Outmail, "incomplete">, outcome: Outcome): Outcome {
  if (!incomplete || outcome.kind !== "delivered") return outcome;
  return refusal("sent without a user id, since none of this key is known; pksd and onak need one");
}

/** The local keyserver may know a user id, but the query failed. */
function notAsked(why: string): Outcome {
  const words = `no user id of this key is known, and the local keyserver does not answer: ${why}`;
  return { kind: "temporary", about: "update", code: undefined, words };
}

function refusal(words: string): Outcome {
  return { kind: "refused", code: 0, words, isOfKey: true };
}

/** Several updates that form one part. */
export interface Pack {
  /** Appends an update. Returns false if it cannot be combined with the updates already added. */
  add(update: Outgoing): boolean;
  /** The part that holds all added updates. */
  part(): Part;
}

export interface DeliveryMethod {
  /**
   * Returns at least one part. The packets of the update in them are the same at every call. They
   * also hold what is known of its key at `date` (ms since 1970).
   */
  parts(update: Outgoing, date: number): Part[];
  /** Returns an empty pack. Undefined for a method that delivers each update on its own. */
  pack?(date: number): Pack;
  /**
   * Aborts an attempt whose part has not been started. Undefined for a method without this phase.
   */
  stopConnecting?(): void;
  /** Aborts the delivery in progress, as a temporary failure. */
  close(): void;
}

/**
 * Sends mails to one site. Each mail has a single recipient, so that a reply belongs to one update.
 */
export class RelayDelivery implements DeliveryMethod {
  readonly #envelope: Envelope;
  readonly #sender: (first: Seq, last: Seq) => string;
  readonly #transport: Relay;
  readonly #completion: Pick<KeyCompletion, "learn"> | undefined;
  readonly #memory: OutmailMemory;

  /**
   * `sender` returns the envelope sender for a range of updates. Bounces are returned to that
   * address. Sites that share `memory` share what is made of an update.
   */
  constructor(
    envelope: Envelope,
    sender: (first: Seq, last: Seq) => string,
    transport: Relay,
    completion?: Pick<KeyCompletion, "learn">,
    memory = new OutmailMemory(),
  ) {
    this.#envelope = envelope;
    this.#sender = sender;
    this.#transport = transport;
    this.#completion = completion;
    this.#memory = memory;
  }

  parts(update: Outgoing, date: number): Part[] {
    const { kind } = this.#envelope;
    const made = (skeleton: Uint8Array | undefined) =>
      outmails(update, skeleton, update.trail, this.#envelope, date, this.#memory);
    const sender = this.#sender(update.seq, update.seq);
    const partOf = (mail: Outmail) => this.#part(mail, sender);
    const key = () => this.#memory.of(update, update.skeleton, date, kind).key;
    return mailParts(update, kind, this.#completion, made, partOf, key);
  }

  pack(date: number): Pack {
    const pack = new MailPack(this.#envelope, date, this.#memory);
    const seqs: Seq[] = [];
    return {
      add: (update) => {
        const isIn = pack.add(update, update.skeleton, update.trail);
        if (isIn) seqs.push(update.seq);
        return isIn;
      },
      part: () => {
        const [first = 0 as Seq] = seqs;
        return this.#part(pack.mail(), this.#sender(first, seqs.at(-1) ?? first));
      },
    };
  }

  #part({ raw, incomplete, oversized }: Outmail, sender: string): Part {
    const { to, kind } = this.#envelope;
    const send = () => this.#transport.deliver(raw, sender, to);
    const deliver = () => deliverMail({ incomplete }, kind, send);
    return { bytes: raw.length, incomplete, oversized, deliver };
  }

  stopConnecting(): void {
    this.#transport.stopConnecting?.();
  }

  close(): void {
    this.#transport.close();
  }
}
