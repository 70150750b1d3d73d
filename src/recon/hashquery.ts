/**
 * Encodes the request and decodes the response of POST /pks/hashquery. The request is a count, then
 * each MD5 preceded by its length. The response is a count, then each key preceded by its length,
 * then CRLF. Keys in the response are not labelled, so the caller compares their digests. Pure.
 */
import { MD5_OCTETS, ReconFault } from "./wire.js";

/** Maximum number of MD5s in one request: Hockeypuck answers no more. */
export const MAX_ASKED = 100;

/** Octets that may follow the last key. */
const TAIL_OCTETS = 2;

/** Encodes the body of a request for keys. */
export function encodeQuestion(md5s: readonly Uint8Array[]): Buffer {
  const body = Buffer.alloc(4 + md5s.length * (4 + MD5_OCTETS));
  body.writeUInt32BE(md5s.length);
  for (const [index, md5] of md5s.entries()) {
    const at = 4 + index * (4 + MD5_OCTETS);
    body.writeUInt32BE(MD5_OCTETS, at);
    body.set(md5, at + 4);
  }
  return body;
}

/** Returns the keys in the response to a request for `asked` keys. Throws ReconFault. */
export function readAnswer(body: Uint8Array, asked: number): Uint8Array[] {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  if (body.length < 4) throw new ReconFault("an answer without a count");
  const count = view.getUint32(0);
  if (count > asked) throw new ReconFault(`${count} keys where ${asked} were asked for`);
  const keys: Uint8Array[] = [];
  let at = 4;
  for (let key = 0; key < count; key++) {
    const start = at + 4;
    if (start > body.length) throw new ReconFault("an answer that is cut short");
    const end = start + view.getUint32(at);
    if (end > body.length) throw new ReconFault("an answer that is cut short");
    keys.push(body.subarray(start, end));
    at = end;
  }
  if (body.length - at > TAIL_OCTETS) throw new ReconFault("more than the keys in an answer");
  return keys;
}
