/**
 * Floor of the ingest: bare smtp-server, and of each mail base64, CRC-24, MD5, SHA-256, one row and
 * an fsync that is shared by the mails of a millisecond; 250 follows the commit. Left out: what
 * `work.ts` leaves out, and MIME, headers, senders and duplicates. Its argument is the file to
 * store in. Prints its port and ends with its standard input.
 */
import type { AddressInfo } from "node:net";
import { SMTPServer } from "smtp-server";
import { decode, FloorStore, type Named } from "./work.js";

const GROUP_MS = 1;

const store = new FloorStore(process.argv[2] ?? "floor.db");
let group: Named[] = [];
let waiting: ((error?: Error | null, text?: string) => void)[] = [];

function commit(): void {
  const [mails, callbacks] = [group, waiting];
  [group, waiting] = [[], []];
  store.add(mails);
  for (const callback of callbacks) callback(null, "2.0.0 Stored.");
}

const server = new SMTPServer({
  authOptional: true,
  disabledCommands: ["AUTH", "STARTTLS"],
  disableReverseLookup: true,
  logger: false,
  onData: (stream, _session, callback) => {
    const pieces: Buffer[] = [];
    stream.on("data", (piece: Buffer) => pieces.push(piece));
    stream.on("end", () => {
      group.push(decode(Buffer.concat(pieces)));
      if (waiting.push(callback) === 1) setTimeout(commit, GROUP_MS);
    });
  },
});
server.on("error", () => {});
server.listen(0, "127.0.0.1", () => {
  const { port } = server.server.address() as AddressInfo;
  process.stdout.write(`${port}\n`);
});
process.stdin
  .on("end", () => {
    store.close();
    process.exit(0);
  })
  .resume();
