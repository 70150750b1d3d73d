/**
 * The bytes of one message after DATA: all of them up to the size cap, at a pace that does not hold
 * a slot for ever. Knows what smtp-server's stream counts (bytes after the dots are undone) and
 * nothing of sessions; who gives up on a client is told why.
 */
import type { SMTPServerDataStream } from "smtp-server";
import type { SmtpLimits } from "./limits.js";
import { Pace } from "./pace.js";

/** Why a message is not waited for any longer. */
export type GiveUp = "too-slow" | "too-large";

/**
 * Resolves with the message, or with undefined when it is over the cap: then it was read to its
 * end, so that a reply can follow. Rejects when the client leaves, and after `giveUp`, which is to
 * end the connection.
 */
export async function collect(
  stream: SMTPServerDataStream,
  maxBytes: number,
  limits: SmtpLimits,
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
  let chunks: Uint8Array[] = [];
  try {
    for await (const chunk of stream) {
      if (!stream.sizeExceeded) chunks.push(chunk);
      else chunks = [];
      if (stream.byteLength > maxBytes * limits.oversizeFactor) end("too-large");
    }
  } finally {
    pace.stop();
  }
  return stream.sizeExceeded ? undefined : Buffer.concat(chunks);
}
