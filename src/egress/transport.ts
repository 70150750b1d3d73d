/**
 * One mail to the relay through nodemailer, and what came of it in our terms. `raw` bytes with an
 * explicit envelope, because its composer rewrites X-KeyServer-Sent and encodes bodies; no pool,
 * because that requeues on its own; no file or URL access. Knows no site, no schedule and no log.
 */
import { createTransport } from "nodemailer";

export const TRANSPORT_LIMITS = {
  connectMs: 30_000,
  greetingMs: 60_000,
  /** RFC 5321 allows 10 minutes after the final dot; a relay of our own answers sooner. */
  silenceMs: 5 * 60_000,
} as const;

/** What a delivery attempt came to. An unknown error is temporary: nothing is given up for it. */
export type Outcome =
  | { readonly kind: "delivered"; readonly reply: string }
  /** Later: the relay or the site, not this mail, is the trouble; or nobody knows. */
  | { readonly kind: "temporary"; readonly code: number | undefined; readonly words: string }
  /** Never: this mail was read and refused. */
  | { readonly kind: "refused"; readonly code: number; readonly words: string };

export interface Transport {
  deliver(raw: Uint8Array, sender: string, recipient: string): Promise<Outcome>;
  close(): void;
}

/** A transport to `relay`, an smtp:// or smtps:// URL that may hold a user and a password. */
export function smtpTransport(relay: string, hostname: string): Transport {
  const url = new URL(relay);
  const secure = url.protocol === "smtps:";
  const user = decodeURIComponent(url.username);
  const transport = createTransport({
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? (secure ? 465 : 25) : Number(url.port),
    secure,
    name: hostname,
    ...(user === "" ? {} : { auth: { user, pass: decodeURIComponent(url.password) } }),
    // Opportunistic TLS between mail servers verifies nothing (RFC 7435); smtps:// does.
    tls: { rejectUnauthorized: secure },
    connectionTimeout: TRANSPORT_LIMITS.connectMs,
    greetingTimeout: TRANSPORT_LIMITS.greetingMs,
    socketTimeout: TRANSPORT_LIMITS.silenceMs,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  return {
    async deliver(raw, sender, recipient) {
      try {
        const info = await transport.sendMail({
          raw: Buffer.from(raw),
          envelope: { from: sender, to: recipient },
        });
        return { kind: "delivered", reply: info.response };
      } catch (error) {
        return outcomeOf(error);
      }
    },
    close: () => transport.close(),
  };
}

/** The one translation from nodemailer's errors: only an answer to the message itself is final. */
export function outcomeOf(error: unknown): Outcome {
  if (!(error instanceof Error)) return { kind: "temporary", code: undefined, words: "unknown" };
  const { responseCode, command } = error as { responseCode?: number; command?: string };
  const words = plain(error.message);
  const final = responseCode !== undefined && responseCode >= 500;
  // 552 to MAIL FROM is about the size that we declared there, hence about this mail.
  if (final && (command === "DATA" || responseCode === 552)) {
    return { kind: "refused", code: responseCode, words };
  }
  return { kind: "temporary", code: responseCode, words };
}

function plain(text: string): string {
  return text
    .replace(/[^\x20-\x7e]+/g, " ")
    .trim()
    .slice(0, 300);
}
