/**
 * The certificate that the SMTP door shows after STARTTLS: read from its files when the door opens
 * and looked at anew at each connection, so that a renewed one is in force without a signal. What
 * cannot be used is reported once and changes nothing: the one in force stays. Knows no session.
 */
import { readFileSync, statSync } from "node:fs";
import { createSecureContext } from "node:tls";
import type { Diagnostics } from "../diagnostics.js";

/** What smtp-server takes, TLS 1.2 at least. */
export interface TlsMaterial {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly minVersion: "TLSv1.2";
}

export class OwnCertificate {
  readonly #files: { readonly cert: string; readonly key: string };
  readonly #diagnostics: Diagnostics;
  /** Of the files as they were last read, in order or not. */
  #stamp: string;
  /** What they held then. */
  readonly material: TlsMaterial;

  /** Paths of PEM files. Throws the system's or OpenSSL's error when they cannot be used. */
  constructor(
    { diagnostics }: { readonly diagnostics: Diagnostics },
    files: { readonly cert: string; readonly key: string },
  ) {
    this.#files = files;
    this.#diagnostics = diagnostics;
    this.#stamp = this.#look();
    this.material = this.#read();
  }

  /** Another one, when the files have changed since the last call and can be used. */
  renewed(): TlsMaterial | undefined {
    try {
      const stamp = this.#look();
      if (stamp === this.#stamp) return undefined;
      this.#stamp = stamp;
      const material = this.#read();
      this.#diagnostics.report("certificate-renewed", { file: this.#files.cert });
      return material;
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      this.#diagnostics.report("certificate-refused", { file: this.#files.cert, problem });
      return undefined;
    }
  }

  #look(): string {
    const { cert, key } = this.#files;
    return [cert, key].map((file) => this.#stampOf(file)).join(" ");
  }

  /** Both may be replaced one after the other: a file that is missing for a moment is a change. */
  #stampOf(file: string): string {
    const found = statSync(file, { throwIfNoEntry: false });
    return found === undefined ? "none" : `${found.mtimeMs}/${found.ino}/${found.size}`;
  }

  #read(): TlsMaterial {
    const cert = readFileSync(this.#files.cert);
    const key = readFileSync(this.#files.key);
    // Before anybody takes it over: a key that is not the certificate's is found out here.
    createSecureContext({ cert, key });
    return { cert, key, minVersion: "TLSv1.2" };
  }
}
