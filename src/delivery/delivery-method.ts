/**
 * What a lane needs of a delivery method: it splits an update into parts for its destination, and
 * delivers them one by one. The mail method is here, its parts are the mails of the dialect;
 * the methods for the local keyserver are in `local-*.ts`. It has no schedule and no log.
 */

import { Refusal } from "../errors.js";
import { neverSent } from "../openpgp/fragments.js";
import { keyPackets, readKeys } from "../openpgp/key.js";
import { type Envelope, MailPack, type Outmail, outmails } from "../outmail.js";
import type { ServerKind } from "../server-kinds.js";
import type { Fingerprint, Seq, UpdateHash } from "../update.js";
import type { KeyCompletion } from "./completion.js";
import type { Outcome, Relay } from "./relay.js";

/** An update as the log hands it out. */
export interface Outgoing {
  readonly seq: Seq;
  readonly hash: UpdateHash;
  readonly fingerprint: Fingerprint;
  readonly body: Uint8Array;
  /** What is remembered of its key. */
  readonly skeleton: Uint8Array | undefined;
  /** Addresses that have it. */
  readonly trail: readonly string[];
}

/** A piece of an update that is delivered or refused as one. */
export interface Part {
  readonly bytes: number;
  /** No user id is known for its key, and the receiver may need one. */
  readonly incomplete: boolean;
  /** Larger than allowed, since one packet alone is. */
  readonly oversized: boolean;
  /** Never rejects; one call at a time. */
  deliver(): Promise<Outcome>;
}

/** The only part of an update of which a server of this kind takes nothing; it is not sent. */
export function nothingFor(kind: ServerKind | undefined): Part {
  const words = `not sent: a server of kind "${kind}" takes nothing of this update`;
  const deliver = async (): Promise<Outcome> => refusal(words);
  return { bytes: 0, incomplete: false, oversized: false, deliver };
}

/** What stands for the packets of an update that are not sent, behind the parts with the rest. */
export function restFor(body: Uint8Array, kind: ServerKind | undefined): Part[] {
  const [key] = readKeys(body);
  if (key === undefined || key instanceof Refusal) return [];
  const count = neverSent(key, kind);
  if (count === 0) return [];
  const share = `${count} of ${keyPackets(key).length} packets`;
  const words = `not sent: a server of kind "${kind}" never takes ${share} of this update`;
  const deliver = async (): Promise<Outcome> => refusal(words);
  return [{ bytes: 0, incomplete: false, oversized: false, deliver }];
}

/**
 * The parts of an update that leaves as mails. `made` makes them with a skeleton of its key. For a
 * mail without a user id `completion` asks the local keyserver, which may know one.
 */
export function mailParts<Mail extends Pick<Outmail, "incomplete">>(
  update: Outgoing,
  kind: ServerKind | undefined,
  completion: Pick<KeyCompletion, "learn"> | undefined,
  made: (skeleton: Uint8Array | undefined) => readonly Mail[],
  partOf: (mail: Mail) => Part,
): Part[] {
  const mails = made(update.skeleton);
  if (mails.length === 0) return [nothingFor(kind)];
  const parts = mails.map((mail, index) => {
    const part = partOf(mail);
    if (!mail.incomplete || completion === undefined) return part;
    const deliver = async (): Promise<Outcome> => {
      const learnt = await completion.learn(update.fingerprint);
      if (learnt.kind === "failed") return notAsked(learnt.words);
      // The same packets of the update, in as many mails.
      const better = learnt.kind === "learnt" ? made(learnt.skeleton)[index] : undefined;
      return await (better === undefined ? part : partOf(better)).deliver();
    };
    return { ...part, deliver };
  });
  return [...parts, ...restFor(update.body, kind)];
}

/**
 * Delivers a mail, and says what it is worth. A mail without a user id is not sent to a server that
 * is known to refuse it.
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
 * What the answer to a mail proves. To a mail without a user id it proves nothing: the outcome is a
 * refusal of this update, so that it is offered again when more of its key is known.
 */
export function provenBy({ incomplete }: Pick<Outmail, "incomplete">, outcome: Outcome): Outcome {
  if (!incomplete || outcome.kind !== "delivered") return outcome;
  return refusal("sent without a user id, since none of this key is known; pksd and onak need one");
}

/** The keyserver that may know a user id could not be asked for it. */
export function notAsked(why: string): Outcome {
  const words = `no user id of this key is known, and the local keyserver does not answer: ${why}`;
  return { kind: "temporary", about: "update", code: undefined, words };
}

function refusal(words: string): Outcome {
  return { kind: "refused", code: 0, words, isOfKey: true };
}

/** Several updates that become one part. */
export interface Pack {
  /** Puts an update in, behind those that are there; false when it does not go with them. */
  add(update: Outgoing): boolean;
  /** The part that holds them all. */
  part(): Part;
}

export interface DeliveryMethod {
  /**
   * At least one part. They hold the same packets of the update whenever it is asked, and beside
   * them what is known of its key at `date` (ms since 1970).
   */
  parts(update: Outgoing, date: number): Part[];
  /** An empty pack; undefined for a method that delivers each update on its own. */
  pack?(date: number): Pack;
  /** Ends an attempt that has not begun its part; undefined for a method without this. */
  stopConnecting?(): void;
  /** Ends whatever is under way, as a temporary failure. */
  close(): void;
}

/** Mails to one site, each to the one recipient, so that an answer belongs to one update. */
export class RelayDelivery implements DeliveryMethod {
  readonly #envelope: Envelope;
  readonly #sender: (first: Seq, last: Seq) => string;
  readonly #transport: Relay;
  readonly #completion: Pick<KeyCompletion, "learn"> | undefined;

  /** `sender` says who sends the updates from the first to the last: a bounce comes back there. */
  constructor(
    envelope: Envelope,
    sender: (first: Seq, last: Seq) => string,
    transport: Relay,
    completion?: Pick<KeyCompletion, "learn">,
  ) {
    this.#envelope = envelope;
    this.#sender = sender;
    this.#transport = transport;
    this.#completion = completion;
  }

  parts(update: Outgoing, date: number): Part[] {
    const made = (skeleton: Uint8Array | undefined) =>
      outmails(update, skeleton, update.trail, this.#envelope, date);
    const sender = this.#sender(update.seq, update.seq);
    const partOf = (mail: Outmail) => this.#part(mail, sender);
    return mailParts(update, this.#envelope.kind, this.#completion, made, partOf);
  }

  pack(date: number): Pack {
    const pack = new MailPack(this.#envelope, date);
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
