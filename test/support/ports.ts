/** Ports of loopback for tests and runs. */
import { createServer, type Server } from "node:net";

/** A port that is free now; nothing listens on it until the caller has it bound. */
export async function freePort(host = "127.0.0.1"): Promise<number> {
  const server = createServer();
  const port = await listening(server, host);
  await new Promise((resolve) => server.close(resolve));
  return port;
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
