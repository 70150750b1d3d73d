/**
 * Reads the body of one HKP request, up to the size limit and the limit for all requests together,
 * and enforces a minimum pace so that a slow client cannot keep a connection for ever. Bytes are
 * copied into one buffer on arrival: a client can send single bytes, and a chunk of one byte costs
 * about a hundred bytes of memory.
 */
import type { IncomingMessage } from "node:http";
import { Refusal } from "../errors.js";
import { Pace, type PaceLimits } from "./pace.js";

const FIRST_BYTES = 64 * 1024;

/** Limits of one body. */
export interface BodyLimits extends PaceLimits {
  /** Bytes kept. Nothing is kept of a longer body. */
  readonly maxBytes: number;
  /** Bytes read. A client reads the answer only after it has sent its body. */
  readonly readBytes: number;
  /** Reserves `bytes` more of memory. Returns false if other requests hold too much. */
  readonly hold: (bytes: number) => boolean;
}

/** The body was not read to its end, for another reason than its size. */
export class GaveUp extends Error {
  readonly why: "too-slow" | "no-room";
  constructor(why: GaveUp["why"]) {
    super(why);
    this.why = why;
  }
}

/** The client disconnected, so no answer can be sent. */
export class Gone extends Error {}

/** Throws Refusal 'too-large', `GaveUp` or `Gone`. */
export function readBody(request: IncomingMessage, limits: BodyLimits): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const { maxBytes, readBytes, hold } = limits;
    let buffer = Buffer.alloc(0);
    let size = 0;
    const tooLarge = () => new Refusal("too-large", `the request exceeds ${maxBytes} bytes`);
    const done = (outcome: Buffer | Error) => {
      pace.stop();
      request.off("data", take).off("end", end).off("close", leave).off("error", leave);
      // A later error of the socket has no other listener.
      request.on("error", () => {});
      if (outcome instanceof Error) reject(outcome);
      else resolve(outcome);
    };
    const take = (chunk: Buffer) => {
      const from = size;
      size += chunk.length;
      if (size > readBytes) return done(tooLarge());
      if (size > maxBytes) {
        buffer = Buffer.alloc(0);
        return;
      }
      if (size > buffer.length) {
        const grown = Math.min(maxBytes, Math.max(FIRST_BYTES, 2 * size));
        if (!hold(grown - buffer.length)) return done(new GaveUp("no-room"));
        const larger = Buffer.allocUnsafe(grown);
        buffer.copy(larger, 0, 0, from);
        buffer = larger;
      }
      chunk.copy(buffer, from);
    };
    const end = () => done(size > maxBytes ? tooLarge() : buffer.subarray(0, size));
    const leave = () => done(new Gone());
    const onSlow = () => done(new GaveUp("too-slow"));
    const pace = new Pace({ bytes: () => size, onSlow }, limits);
    request.on("data", take).on("end", end).on("close", leave).on("error", leave);
  });
}
