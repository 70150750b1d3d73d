/**
 * TLS for KX. A connection with a `kxs://` peer is secured before the first KX message, whichever
 * side dialled, and both sides show a certificate. The certificate of a peer is the pinned one, or
 * one that our CA signed for the host name of the peer; any other ends the connection. TLS 1.2 is
 * the minimum. Files are read again at the next handshake after a change, so that a renewed
 * certificate needs no signal.
 *
 * The thesis knows peers by address only (5.3) and asks for TLS. The address says which peers a
 * connection may belong to; the certificate proves which one it is.
 */
import { readFileSync, statSync } from "node:fs";
import type { Socket } from "node:net";
import { isIP } from "node:net";
import type { SecureContextOptions, TLSSocket } from "node:tls";
import { checkServerIdentity, connect, createServer } from "node:tls";
import type { Config } from "../config/config.js";

/** How long a handshake may take. */
export const HANDSHAKE_MS = 15_000;

type Files = NonNullable<NonNullable<Config["kx"]>["tls"]>;

/** A peer to which a certificate may belong. */
export interface TlsIdentity {
  readonly name: string;
  readonly host: string;
  /** SHA-256 of its certificate as 64 upper-case hex digits, or undefined when the CA decides. */
  readonly pin: string | undefined;
}

export class KxTls {
  readonly #files: Files;
  #material: { readonly stamp: string; readonly options: SecureContextOptions } | undefined;

  constructor(files: Files) {
    this.#files = files;
  }

  /**
   * Resolves after the handshake with the secured connection and the first of `peers` that the
   * certificate proves. `dialled` is the host that we dialled; undefined if the peer dialled.
   * Rejects with an Error that says what is wrong; `socket` is destroyed then.
   */
  secure<T extends TlsIdentity>(
    socket: Socket,
    peers: readonly T[],
    dialled: string | undefined,
  ): Promise<{ readonly secured: TLSSocket; readonly peer: T }> {
    return new Promise((resolve, reject) => {
      const fail = (error: Error) => {
        clearTimeout(deadline);
        socket.destroy();
        reject(error);
      };
      const late = () => fail(new Error("the TLS handshake timed out"));
      const deadline = setTimeout(late, HANDSHAKE_MS);
      const ended = () => fail(new Error("the peer ended the TLS handshake"));
      const done = (secured: TLSSocket) => {
        socket.off("close", ended);
        const judged = peers.map((peer) => ({ peer, problem: this.#problem(secured, peer) }));
        const proven = judged.find(({ problem }) => problem === undefined);
        if (proven === undefined) return fail(new Error(problemOf(judged)));
        clearTimeout(deadline);
        secured.off("error", fail);
        resolve({ secured, peer: proven.peer });
      };
      socket.once("close", ended);
      try {
        if (dialled === undefined) this.#asServer(socket, done, fail);
        else this.#asClient(socket, dialled, done, fail);
      } catch (error) {
        fail(error instanceof Error ? error : new Error(String(error)));
      }
    });
  }

  #asClient(
    socket: Socket,
    host: string,
    done: (secured: TLSSocket) => void,
    fail: (error: Error) => void,
  ): void {
    const servername = isIP(host) === 0 ? { servername: host } : {};
    // The certificate is judged afterwards: a pinned one needs no trusted signature.
    const secured = connect({
      ...this.#current(),
      rejectUnauthorized: false,
      ...servername,
      socket,
    });
    secured.once("error", fail);
    secured.once("secureConnect", () => done(secured));
  }

  #asServer(
    socket: Socket,
    done: (secured: TLSSocket) => void,
    fail: (error: Error) => void,
  ): void {
    // The server never listens: tls.Server documents that a connection may be given to it.
    const asking = { requestCert: true, rejectUnauthorized: false };
    const server = createServer({ ...this.#current(), ...asking });
    server.once("tlsClientError", fail);
    server.once("secureConnection", (secured) => {
      secured.once("error", fail);
      done(secured);
    });
    server.emit("connection", socket);
  }

  #problem(secured: TLSSocket, peer: TlsIdentity): string | undefined {
    const certificate = secured.getPeerCertificate();
    if (certificate.fingerprint256 === undefined) return "the peer showed no certificate";
    const shown = certificate.fingerprint256.replaceAll(":", "");
    if (peer.pin !== undefined) {
      return shown === peer.pin
        ? undefined
        : `the peer's certificate is ${shown}, not the pinned one`;
    }
    if (this.#files.ca === undefined) return "there is neither a pin nor a CA to trust";
    if (!secured.authorized) {
      return `the peer's certificate is not trusted: ${secured.authorizationError}`;
    }
    return checkServerIdentity(peer.host, certificate)?.message;
  }

  /** The contents of the files. Throws the error of the system if one cannot be read. */
  #current(): SecureContextOptions {
    const { cert, key, ca } = this.#files;
    const paths = [cert, key, ...(ca === undefined ? [] : [ca])];
    const stamp = paths.map((path) => `${path} ${statSync(path).mtimeMs}`).join("\n");
    if (this.#material?.stamp === stamp) return this.#material.options;
    const options = {
      minVersion: "TLSv1.2",
      cert: readFileSync(cert),
      key: readFileSync(key),
      ...(ca === undefined ? {} : { ca: readFileSync(ca) }),
    } as const;
    this.#material = { stamp, options };
    return options;
  }
}

/** Why a certificate proves none of the peers. */
function problemOf(
  judged: readonly { readonly peer: TlsIdentity; readonly problem: string | undefined }[],
): string {
  const [first, ...others] = judged;
  if (others.length === 0) return first?.problem ?? "no peer is expected";
  return judged.map(({ peer, problem }) => `as ${peer.name}: ${problem}`).join("; ");
}
