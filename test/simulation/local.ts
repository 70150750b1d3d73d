/**
 * The keyserver beside a simulated gateway, over HKP: what `delivery/local-hkp.ts` does with
 * requests and promises, done in one step. Updates are divided as for a verifying server, the
 * answers are those of Hockeypuck 2.3, and they are read by the real `answerOf`, `heldOf` and
 * `completedBy`.
 */
import type { DeliveryMethod, Outgoing, Part } from "../../src/delivery/delivery-method.js";
import { answerOf, completedBy, heldOf } from "../../src/delivery/local-hkp.js";
import type { Outcome } from "../../src/delivery/relay.js";
import { Refusal } from "../../src/errors.js";
import { fragments } from "../../src/openpgp/fragments.js";
import { encodeKey, readKeys } from "../../src/openpgp/key.js";
import { type Packet, readPackets } from "../../src/openpgp/packet.js";
import type { Fingerprint } from "../../src/update.js";
import type { LegacySite } from "./legacy.js";

const ARMOR_BYTES = 3_500_000;

/** What is posted, and when it was made. */
export interface Offer {
  readonly packets: Uint8Array;
  readonly fingerprint: Fingerprint;
  readonly date: number;
}

export class SimHkp implements DeliveryMethod {
  readonly #post: (offer: Offer) => void;

  /** `post` is told what a part would post; the outcome comes by the driver of the lane. */
  constructor(post: (offer: Offer) => void) {
    this.#post = post;
  }

  parts({ body, fingerprint, skeleton }: Outgoing, date: number): Part[] {
    const [key] = readKeys(body);
    if (key === undefined || key instanceof Refusal) throw new Error("a body in the log is no key");
    return fragments(key, skeleton, ARMOR_BYTES, date).map(({ packets, isNamed }) => {
      const deliver = () => this.#post({ packets, fingerprint, date }) as never;
      return { bytes: packets.length, incomplete: !isNamed, oversized: false, deliver };
    });
  }

  close(): void {}
}

/** One conversation with the keyserver. */
export class SimHkpServer {
  readonly #site: LegacySite;

  constructor(site: LegacySite) {
    this.#site = site;
  }

  /** What comes of an offer, as `HkpDelivery` finds it out. */
  take({ packets, fingerprint, date }: Offer): Outcome {
    if (this.#site.isDown) {
      const words = "connect ECONNREFUSED";
      return { kind: "temporary", about: "neighbour", code: undefined, words };
    }
    const first = this.#offer(packets, fingerprint);
    if (first.kind !== "refused" || first.code !== 200) return first;
    const more = completedBy(packets, this.#served(fingerprint), date);
    return more === undefined ? first : this.#offer(more, fingerprint);
  }

  #offer(packets: Uint8Array, fingerprint: Fingerprint): Outcome {
    const [status, text] = this.#answer(packets);
    const answer = answerOf(status, text);
    if (answer.kind === "refused" || answer.kind === "temporary") return answer;
    const words = answer.kind === "delivered" ? answer.reply : answer.words;
    return this.judge(words, packets, this.#served(fingerprint));
  }

  /** An answer that lists the key proves nothing: what it serves of it does. A mutant believes. */
  judge(words: string, packets: Uint8Array, served: readonly Packet[]): Outcome {
    return heldOf(packets, served, words);
  }

  #answer(packets: Uint8Array): readonly [number, string] {
    const [key] = readKeys(packets);
    if (key === undefined || key instanceof Refusal) return [400, "no key"];
    const verdict = this.#site.judge([key]);
    if (verdict === "refuses") return [422, "this key is not taken here"];
    if (verdict === "fails") return [500, "the database is busy"];
    const list = this.#site.post(key);
    return [200, JSON.stringify({ [list]: [{ longKeyID: key.fingerprint }] })];
  }

  #served(fingerprint: Fingerprint): Packet[] {
    const key = this.#site.served(fingerprint);
    return key === undefined ? [] : readPackets(encodeKey(key));
  }
}
