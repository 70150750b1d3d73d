/**
 * The server certificate for STARTTLS. It is read from its files when the SMTP door opens. The
 * files are checked at each connection, so a renewed certificate is used without a signal. A
 * certificate that cannot be used is reported once, and the previous one stays in use.
 */
import { readFileSync, statSync } from "node:fs";
import { createSecureContext } from "node:tls";
import type { Diagnostics } from "../diagnostics.js";

/** TLS options of smtp-server; TLS 1.2 or newer. */
export interface TlsMaterial {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly minVersion: "TLSv1.2";
}

export class OwnCertificate {
  readonly #files: { readonly cert: string; readonly key: string };
  readonly #diagnostics: Diagnostics;
  /** Stamp of the files at the last read, whether or not they could be used. */
  #stamp: string;
  /** Content of the files when the object was created. */
  readonly material: TlsMaterial;

  /** `files` are paths of PEM files. Throws the error of the system or OpenSSL if they are bad. */
  constructor(
    { diagnostics }: { readonly diagnostics: Diagnostics },
    files: { readonly cert: string; readonly key: string },
  ) {
    this.#files = files;
    this.#diagnostics = diagnostics;
    this.#stamp = this.#look();
    this.material = this.#read();
  }

  /** The new certificate, if the files have changed since the last call and can be used. */
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

  /** The two files may be replaced one after the other, so a missing file counts as a change. */
  #stampOf(file: string): string {
    const found = statSync(file, { throwIfNoEntry: false });
    return found === undefined ? "none" : `${found.mtimeMs}/${found.ino}/${found.size}`;
  }

  #read(): TlsMaterial {
    const cert = readFileSync(this.#files.cert);
    const key = readFileSync(this.#files.key);
    // Throws if the key does not belong to the certificate.
    createSecureContext({ cert, key });
    return { cert, key, minVersion: "TLSv1.2" };
  }
}
