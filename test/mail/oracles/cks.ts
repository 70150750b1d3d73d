/**
 * CKS 0.2.2 as its source reads: the whole raw mail in a buffer of 128,000 bytes, To and then From
 * behind it, the loop line in exactly one case and compared exactly, behind From. It finds To only
 * after a line end, and a mail server always puts a Received line above it, so this oracle does
 * too. No subject needed. Which keys it takes was never measured: here it takes what walks.
 */
import { fingerprintOf, keysOf, versionOf, walk } from "./packets.js";
import { firstBlock, type Reading, refuseAll, textOf } from "./raw-mail.js";

const BUFFER_BYTES = 128_000;
const RECEIVED = "Received: by mail.example.net\n";

export function read(raw: Uint8Array): Reading {
  if (raw.length > BUFFER_BYTES) return refuseAll("more than the buffer holds");
  const text = RECEIVED + textOf(raw);
  const to = text.indexOf("\nTo: ");
  if (to === -1) return refuseAll("To pointer parse failed");
  const from = text.indexOf("\nFrom: ", to);
  if (from === -1) return refuseAll("no From behind To: crashes");
  const block = firstBlock(text);
  if (block === undefined) return refuseAll("no armor");
  if (block.crc === "wrong") return refuseAll("CRC wrong");
  const packets = walk(block.packets);
  if (packets === undefined) return refuseAll("packets end early");
  const keys = keysOf(packets).filter((key) => versionOf(key) > 0);
  const sites = text
    .slice(from)
    .split("X-KeyServer-Sent: ")
    .slice(1)
    .map((rest) => rest.split("\n")[0]);
  return {
    accepted: keys.map(fingerprintOf),
    refused: [],
    seenTrail: (address) => sites.includes(address),
  };
}
