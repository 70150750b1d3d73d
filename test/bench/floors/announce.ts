/**
 * Floor of a known announcement: reads the lines of an IHAVE and looks each hash up in one index.
 * Left out: the parser's limits, tags, sessions, cursors, the tracker, policy, trails and answers.
 * Arguments: the port of the peer, the file to look up in. It ends with its standard input and then
 * prints how many of the announced hashes were there.
 */
import { connect } from "node:net";
import { FloorStore } from "./work.js";

const LINE = "\r\n";
const HASH_DIGITS = 32;

const store = new FloorStore(process.argv[3] ?? "floor.db");
let known = 0;
let rest = "";

const socket = connect({ port: Number(process.argv[2]), host: "127.0.0.1", noDelay: true });
socket.write("f000\r\nHELO\r\n1.0\r\n.\r\n");
socket.on("data", (bytes: Buffer) => {
  const lines = (rest + bytes.toString("latin1")).split(LINE);
  rest = lines.pop() ?? "";
  for (const line of lines) {
    if (line.length <= HASH_DIGITS) continue;
    if (store.has(Buffer.from(line.slice(-HASH_DIGITS), "hex"))) known += 1;
  }
});
process.stdin
  .on("end", () => {
    store.close();
    process.stdout.write(`${known}\n`, () => process.exit(0));
  })
  .resume();
