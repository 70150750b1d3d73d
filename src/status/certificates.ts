/**
 * When our own certificates expire, read from the files that the listeners read. A listener uses a
 * renewed certificate for the next connection, and ignores one without a matching key. The value
 * here is that of the last usable one. In a chain the first expiry counts.
 */
import { X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { createSecureContext } from "node:tls";
import type { Config } from "../config/config.js";
import { ago, span } from "../text.js";

/** Below this the operator is warned; certificates of 90 days are renewed at 30. */
export const EXPIRES_SOON_MS = 14 * 24 * 3_600_000;

export interface CertificateEnd {
  /** The section that has it. */
  readonly listener: "smtp" | "kx";
  /** Path of the PEM file. */
  readonly file: string;
  /** Milliseconds since 1970. */
  readonly notAfter: number;
}

/** "is valid until 2027-02-21", with the time left if that is short, or "expired 2 d ago". */
export function endWords(notAfter: number, now: number): string {
  if (notAfter <= now) return `expired ${ago(notAfter, now)}`;
  const left = notAfter - now < EXPIRES_SOON_MS ? `, ${span(notAfter - now)} left` : "";
  return `is valid until ${new Date(notAfter).toISOString().slice(0, 10)}${left}`;
}

interface Files {
  readonly listener: CertificateEnd["listener"];
  readonly cert: string;
  readonly key: string;
}

export class CertificateEnds {
  readonly #files: readonly Files[];
  readonly #known = new Map<string, { stamp: string; notAfter: number | undefined }>();

  constructor({ smtp, kx }: Config) {
    this.#files = [
      ...(smtp?.tls === undefined ? [] : [{ listener: "smtp" as const, ...smtp.tls }]),
      ...(kx?.tls === undefined ? [] : [{ listener: "kx" as const, ...kx.tls }]),
    ];
  }

  /** The last usable certificates; files are read again when they have changed. */
  list(): CertificateEnd[] {
    return this.#files.flatMap(({ listener, cert, key }) => {
      const notAfter = this.#notAfter(listener, cert, key);
      return notAfter === undefined ? [] : [{ listener, file: cert, notAfter }];
    });
  }

  #notAfter(listener: string, cert: string, key: string): number | undefined {
    const known = this.#known.get(listener);
    try {
      const stamp = [cert, key].map(stampOf).join(" ");
      if (known?.stamp === stamp) return known.notAfter;
      this.#known.set(listener, { stamp, notAfter: known?.notAfter });
      const pem = readFileSync(cert, "latin1");
      createSecureContext({ cert: pem, key: readFileSync(key) });
      const notAfter = firstEnd(pem);
      this.#known.set(listener, { stamp, notAfter });
      return notAfter;
    } catch {
      // The listener that cannot use it reports why.
      return this.#known.get(listener)?.notAfter;
    }
  }
}

function stampOf(file: string): string {
  const { mtimeMs, ino, size } = statSync(file);
  return `${mtimeMs}/${ino}/${size}`;
}

function firstEnd(pem: string): number {
  const chain = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return Math.min(...chain.map((one) => Date.parse(new X509Certificate(one).validTo)));
}
