/**
 * The body of one HKP request: all of it up to the size cap, at a pace that does not hold a slot
 * for ever, within what all requests together may hold. Bytes are copied into one buffer as they
 * come, because a client can send them one by one, each of which would cost a hundred here.
 */
import type { IncomingMessage } from "node:http";
import { Refusal } from "../errors.js";
import { Pace, type PaceLimits } from "./pace.js";

const FIRST_BYTES = 64 * 1024;

/** How much a body may ask for. */
export interface BodyLimits extends PaceLimits {
  /** What is kept; of a longer one nothing is. */
  readonly maxBytes: number;
  /** What is read at most, so that the client comes to read its answer. */
  readonly readBytes: number;
  /** Asked for as many bytes more; false when others hold too much. */
  readonly hold: (bytes: number) => boolean;
}

/** Why a body was not read to its end, beside its size. */
export class GaveUp extends Error {
  readonly why: "too-slow" | "no-room";
  constructor(why: GaveUp["why"]) {
    super(why);
    this.why = why;
  }
}

/** The client left: there is nobody to answer. */
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
      // What comes late is nobody's any more.
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
    const pace = new Pace(
      () => size,
      limits,
      () => done(new GaveUp("too-slow")),
    );
    request.on("data", take).on("end", end).on("close", leave).on("error", leave);
  });
}
