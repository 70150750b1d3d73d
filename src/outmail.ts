/**
 * The gate out to legacy sites, the mirror of `admit.ts`: an update from the log becomes the mails
 * that pksd, SKS, onak and CKS can take. Pure: puts the OpenPGP fragments (completion, what must
 * travel alone, the size cap) into mails of the dialect. Sends nothing, and knows no schedule.
 *
 * The update itself stays what it is: its hash is its name. Only the mails are completed.
 */
import { Refusal } from "./errors.js";
import { composeIncremental } from "./mail/compose.js";
import { encodeArmor } from "./openpgp/armor.js";
import { fragments } from "./openpgp/fragments.js";
import { readKeys } from "./openpgp/key.js";
import type { Identity, Seq, UpdateHash } from "./update.js";

/** Who a mail goes to and comes from. */
export interface Envelope {
  /** The site's address. */
  readonly to: string;
  /** Our contact address. */
  readonly from: string;
  /** Our own address in the trail. */
  readonly site: string;
  /** Most bytes of one mail, as the site counts them. */
  readonly maxBytes: number;
}

export interface Outmail {
  /** The message on the wire, CRLF, not dot-stuffed. */
  readonly raw: Uint8Array;
  readonly messageId: string;
  /** Its key shows no user id, because none is known: pksd and onak will refuse it. */
  readonly incomplete: boolean;
  /** Larger than allowed, since one packet alone is. */
  readonly oversized: boolean;
}

/**
 * The mails that carry one update to one site, at least one, each with its own Message-ID, which
 * is the same when the mail is made again after a crash. `body` is an update's body; `identity` is
 * what the log remembers of its key; `date` in milliseconds since 1970.
 */
export function outmails(
  update: { readonly seq: Seq; readonly hash: UpdateHash; readonly body: Uint8Array },
  identity: Identity | undefined,
  trail: readonly string[],
  envelope: Envelope,
  date: number,
): Outmail[] {
  const [key] = readKeys(update.body);
  if (key === undefined || key instanceof Refusal) throw new Error("a body in the log is no key");
  const domain = envelope.site.slice(envelope.site.lastIndexOf("@") + 1);
  const compose = (armor: string, part: number) => {
    const messageId = `<${update.hash}.${update.seq}.${part}@${domain}>`;
    const { to, from, site } = envelope;
    return {
      messageId,
      raw: composeIncremental({ to, from, site, trail, date, messageId, armor }),
    };
  };
  const empty = compose(encodeArmor(new Uint8Array(0)), 999).raw.length;
  // Armor comes in lines of 64 and LF; on the wire each line has a CR more.
  const room = Math.floor(((envelope.maxBytes - empty) * 65) / 66);
  const incomplete = key.userIds.length === 0 && identity === undefined;
  return fragments(key, identity, room).map((fragment, index) => {
    const mail = compose(encodeArmor(fragment.packets), index + 1);
    return { ...mail, incomplete, oversized: mail.raw.length > envelope.maxBytes };
  });
}
