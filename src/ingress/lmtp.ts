/**
 * Creates the Unix socket for LMTP (RFC 2033), which a mail server on this host uses: Postfix with
 * `lmtp:unix:/path`, or `kxgw ingest`. `smtp.ts` implements the protocol. A process that may write
 * to the socket can send as any neighbour, so its mode is configurable. If the mail server passes
 * on the client's address (Postfix: lmtp_send_xforward_command), that address is judged as over
 * TCP.
 */
import { chmod, lstat, unlink } from "node:fs/promises";
import { connect, type Server } from "node:net";
import type { SmtpSessionServer } from "./smtp-session.js";

/**
 * Listens on the Unix socket `path` with permissions `mode`. Replaces a socket that a killed
 * gateway left. Rejects with the error of the system: EADDRINUSE if another process listens there
 * or the path is another kind of file, ENAMETOOLONG for a path that no socket can have.
 */
export async function listenOnSocket(
  server: SmtpSessionServer,
  path: string,
  mode: number,
): Promise<void> {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) throw tooLong(path);
  await removeStale(path);
  await new Promise<void>((resolve, reject) => {
    const inner: Server = server.server;
    inner.once("error", reject);
    server.listen(path, () => resolve());
  });
  await chmod(path, mode);
}

/** Size of sun_path in unix(7) without its final zero. Node cuts a longer path without an error. */
const MAX_PATH_BYTES = 107;

function tooLong(path: string): Error {
  const fields = { syscall: "listen", code: "ENAMETOOLONG", address: path };
  return Object.assign(
    new Error(`listen ENAMETOOLONG: path of a socket is too long ${path}`),
    fields,
  );
}

async function removeStale(path: string): Promise<void> {
  const status = await lstat(path).catch(() => undefined);
  if (!status?.isSocket() || (await isServed(path))) return;
  // If the socket cannot be removed, listen reports the error.
  await unlink(path).catch(() => {});
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    // Only a socket that refuses connections is stale; one without permission, say, is not.
    socket.once("error", ({ code }: NodeJS.ErrnoException) => resolve(code !== "ECONNREFUSED"));
  });
}
