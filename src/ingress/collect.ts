/**
 * Reads one message after DATA, up to the size limit, and enforces a minimum pace so that a slow
 * client cannot keep a session for ever. Sizes are those of smtp-server's stream: bytes after the
 * dot-stuffing is removed (RFC 5321 section 4.5.2). The caller ends the session when it has to end.
 */
import type { SMTPServerDataStream } from "smtp-server";
import type { HeldMail } from "./held-mails.js";
import type { SmtpLimits } from "./limits.js";
import { Pace } from "./pace.js";

/** Why the rest of a message is not read. */
export type GiveUp = "too-slow" | "too-large";

/**
 * Resolves with the message, or with undefined if it exceeds `maxBytes`; such a message is read to
 * its end, so that a reply can follow. `held` stores the message meanwhile, and may wait for its
 * turn. Rejects if the client disconnects, after a call of `giveUp`, which must end the connection,
 * and with `Trouble` if there is no room for the message.
 */
export async function collect(
  stream: SMTPServerDataStream,
  maxBytes: number,
  limits: SmtpLimits,
  held: HeldMail,
  giveUp: (reason: GiveUp) => void,
): Promise<Uint8Array | undefined> {
  const end = (reason: GiveUp) => {
    giveUp(reason);
    stream.destroy();
  };
  const bytes = () => stream.byteLength;
  const pace = new Pace({ bytes, onSlow: () => end("too-slow") }, limits);
  try {
    for await (const chunk of stream) {
      if (stream.sizeExceeded) await held.drop();
      else await held.add(chunk);
      if (stream.byteLength > maxBytes * limits.oversizeFactor) end("too-large");
    }
  } finally {
    pace.stop();
  }
  return stream.sizeExceeded ? undefined : await held.bytes();
}
