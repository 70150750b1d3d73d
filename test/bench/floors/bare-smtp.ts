/**
 * Floor of the dialogue: smtp-server as the gateway uses it, which takes every mail, keeps nothing
 * and says 250. Left out: everything but SMTP. Prints its port and ends with its standard input.
 */
import type { AddressInfo } from "node:net";
import { SMTPServer } from "smtp-server";

const server = new SMTPServer({
  authOptional: true,
  disabledCommands: ["AUTH", "STARTTLS"],
  disableReverseLookup: true,
  logger: false,
  onData: (stream, _session, callback) => {
    stream.on("data", () => {});
    stream.on("end", () => callback(null, "2.0.0 Gone."));
  },
});
server.on("error", () => {});
server.listen(0, "127.0.0.1", () => {
  const { port } = server.server.address() as AddressInfo;
  process.stdout.write(`${port}\n`);
});
process.stdin.on("end", () => process.exit(0)).resume();
