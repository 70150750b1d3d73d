/**
 * The bytes of one message after DATA: all of them up to the size cap, at a pace that does not hold
 * a slot for ever. Knows what smtp-server's stream counts (bytes after the dots are undone) and
 * nothing of sessions; who gives up on a client is told why.
 */
import type { SMTPServerDataStream } from "smtp-server";
import type { HeldMail } from "./held-mails.js";
import type { SmtpLimits } from "./limits.js";
import { Pace } from "./pace.js";

/** Why a message is not waited for any longer. */
export type GiveUp = "too-slow" | "too-large";

/**
 * Resolves with the message, or with undefined when it is over the cap: then it was read to its
 * end, so that a reply can follow. Meanwhile it is in `held`, whose turn may have to be waited for.
 * Rejects when the client leaves, and after `giveUp`, which is to end the connection; with
 * `Trouble` when there is no room for it.
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
  const pace = new Pace(
    () => stream.byteLength,
    limits,
    () => end("too-slow"),
  );
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
