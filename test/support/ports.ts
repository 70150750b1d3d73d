/** Ports of loopback for tests and runs. */
import { createServer, type Server } from "node:net";

/**
 * Ports that the kernel gives to nobody by itself: it takes those from 32768 on for a connection
 * and for a server that asks for any.
 */
const OWN = { first: 10_000, end: 32_000 } as const;
/** Ports of one process. Test files that run at once have different ids, hence different ports. */
const EACH = 97;
let given = 0;

/**
 * A port that is free now, and that no other test takes until the caller has it bound: a port is
 * given once by each process. Rejects when none of the range is free.
 */
export async function freePort(host = "127.0.0.1"): Promise<number> {
  const size = OWN.end - OWN.first;
  for (let tried = 0; tried < size; tried += 1) {
    const port = OWN.first + ((process.pid * EACH + given) % size);
    given += 1;
    if (await isFree(port, host)) return port;
  }
  throw new Error(`no port from ${OWN.first} to ${OWN.end - 1} is free`);
}

async function isFree(port: number, host: string): Promise<boolean> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, host, resolve);
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EADDRINUSE") return false;
    throw error;
  }
  await new Promise((resolve) => server.close(resolve));
  return true;
}

/** Lets a server listen on a free port and returns the port. */
export async function listening(server: Server, host = "127.0.0.1"): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, host, resolve);
  });
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("the server has no port");
  return address.port;
}
