/**
 * LMTP on a Unix socket (RFC 2033), the way in for a mail server on this host: Postfix with
 * `lmtp:unix:/path`, and `kxgw ingest`. What is said over it is `smtp.ts`; here is only how a
 * socket comes into being. Who may write to the file may speak for any neighbour, so its mode is
 * the operator's choice. A mail server that is asked to (Postfix: lmtp_send_xforward_command)
 * tells which address a mail came from, and then that address decides, as it does over TCP.
 */
import { chmod, lstat, unlink } from "node:fs/promises";
import { connect, type Server } from "node:net";
import type { SmtpSessionServer } from "./smtp-session.js";

/**
 * Listens on the Unix socket `path` with permissions `mode`, in place of one that a gateway left
 * behind when it was killed. Rejects with the system's error, EADDRINUSE when somebody listens
 * there or the path is another kind of file.
 */
export async function listenOnSocket(
  server: SmtpSessionServer,
  path: string,
  mode: number,
): Promise<void> {
  await removeStale(path);
  await new Promise<void>((resolve, reject) => {
    const inner: Server = server.server;
    inner.once("error", reject);
    server.listen(path, () => resolve());
  });
  await chmod(path, mode);
}

async function removeStale(path: string): Promise<void> {
  const status = await lstat(path).catch(() => undefined);
  if (!status?.isSocket() || (await isServed(path))) return;
  // In a directory that is not ours it stays, and listening says so.
  await unlink(path).catch(() => {});
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    // Anything but a refusal, as a socket that we may not touch, is not ours to remove.
    socket.once("error", ({ code }: NodeJS.ErrnoException) => resolve(code !== "ECONNREFUSED"));
  });
}
