/**
 * Floor of the fetching: a KX client that asks a gateway for updates by number, 128 under way, and
 * of each reads the lines, decodes, compares the CRC-24, hashes and stores it, 64 in a commit with
 * one fsync. Left out: what `work.ts` leaves out, and listings, tags, cursors, errors, time-outs.
 * Arguments: the port, how many updates to fetch, the file to store in. It ends with its standard
 * input.
 */
import { connect } from "node:net";
import { decode, FloorStore, type Named } from "./work.js";

const UNDER_WAY = 128;
const GROUP = 64;
const END = Buffer.from("\r\n.\r\n");
const LINE = Buffer.from("\r\n");

const [port = 0, wanted = 0] = process.argv.slice(2, 4).map(Number);
const store = new FloorStore(process.argv[4] ?? "floor.db");
let [asked, taken] = [0, 0];
let group: Named[] = [];
let rest: Buffer = Buffer.alloc(0);
let isGreeted = false;

const socket = connect({ port, host: "127.0.0.1", noDelay: true });
socket.write("f000\r\nHELO\r\n1.0\r\n.\r\nf001\r\nIHAVE\r\nNOTIFY\r\n.\r\n");
socket.on("data", (bytes: Buffer) => {
  const data = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
  let from = 0;
  for (let end = data.indexOf(END); end >= 0; end = data.indexOf(END, from)) {
    read(data.subarray(from, end + LINE.length));
    from = end + END.length;
  }
  rest = data.subarray(from);
  if (taken === wanted) {
    commit();
    socket.end();
  } else {
    ask();
  }
});

/** One message without its final dot; the second line says which. */
function read(message: Buffer): void {
  const command = message.indexOf(LINE) + LINE.length;
  const line = message.indexOf(LINE, command);
  switch (message.toString("latin1", command, line)) {
    case "UPDATE":
      group.push(decode(message));
      taken += 1;
      if (group.length === GROUP) commit();
      break;
    case "IHAVE":
      isGreeted = true;
      break;
    case "ERROR":
      throw new Error(message.toString("latin1"));
    default:
  }
}

function ask(): void {
  const [from, to] = [asked + 1, Math.min(wanted, taken + UNDER_WAY)];
  if (!isGreeted || to < from) return;
  const numbers = Array.from({ length: to - from + 1 }, (_, n) => `${from + n}\r\n`);
  asked = to;
  socket.write(`f002\r\nGETUPDATE\r\n${numbers.join("")}.\r\n`);
}

function commit(): void {
  if (group.length > 0) store.add(group);
  group = [];
}

process.stdin
  .on("end", () => {
    store.close();
    process.exit(0);
  })
  .resume();
