/**
 * The decoded bytes of the parts of a mail, by mailparser: base64 and quoted-printable are decoded
 * (the latter by `quoted-printable.ts`), charset and line ends are unchanged, multipart and
 * attached messages are read too. Armor is read from these bytes, not from mailparser's `text`,
 * which changes some shapes and is missing for others. A mail in one plain part, as every keyserver
 * writes it, needs no parser: its body is its only part (`plainBody`; a test compares both ways).
 */
import type { Transform } from "node:stream";
import { setImmediate } from "node:timers/promises";
import { MailParser } from "mailparser";
import { Refusal } from "../errors.js";
import type { HeaderField } from "../mail/head.js";
import { headerValues } from "../mail/head.js";
import { QuotedPrintableDecoder } from "./quoted-printable.js";

/** Parts that a mail may have. A keyserver writes one; the footer of a mailing list adds one. */
export const MAX_PARTS = 100;
/** Bytes that are parsed in one turn: some milliseconds for the slowest input. */
const PIECE = 16 * 1024;

/** The decoded parts of `message`, whose head has `fields` and ends before `bodyStart`. */
export async function decodedParts(
  message: Uint8Array,
  fields: readonly HeaderField[],
  bodyStart: number,
): Promise<Uint8Array[]> {
  const body = plainBody(message, fields, bodyStart);
  return body === undefined ? await parsedParts(message) : [body];
}

/** The body of a mail that is one part in 7bit, 8bit or binary; undefined for any other. */
export function plainBody(
  message: Uint8Array,
  fields: readonly HeaderField[],
  bodyStart: number,
): Uint8Array | undefined {
  const types = headerValues(fields, "Content-Type");
  const encodings = headerValues(fields, "Content-Transfer-Encoding");
  if (types.length > 1 || encodings.length > 1) return undefined;
  // Without a type, mailparser guesses one from the file name.
  const hasFileName = headerValues(fields, "Content-Disposition").length > 0;
  if (types.length === 0 && hasFileName) return undefined;
  const type = types[0]?.trim() ?? "text/plain";
  if (!/^(text\/plain|application\/pgp-keys)\s*(;|$)/i.test(type)) return undefined;
  if (!/^(7bit|8bit|binary)$/i.test(encodings[0]?.trim() ?? "7bit")) return undefined;
  return message.subarray(bodyStart);
}

/** A leaf of a mail's MIME tree. */
export interface MimePart {
  /** Media type in lower case, without parameters; empty when there is none. */
  readonly type: string;
  readonly bytes: Uint8Array;
}

/** The same by mailparser, for every shape. Throws Refusal 'bad-mail' above its limits. */
export async function parsedParts(message: Uint8Array): Promise<Uint8Array[]> {
  return (await typedParts(message)).map(({ bytes }) => bytes);
}

/** The leaves of `message` with their types. Throws Refusal 'bad-mail' above its limits. */
export async function typedParts(message: Uint8Array): Promise<MimePart[]> {
  const parser = new MailParser({
    checksumAlgo: false,
    skipHtmlToText: true,
    skipTextToHtml: true,
  });
  // Every leaf becomes an attachment, that is, plain bytes: mailparser decodes the charset and
  // format=flowed of parts that it takes for text, and armor must stay unchanged.
  Object.assign(parser, { textTypes: [], createNode: decodingInLines });
  const parts: MimePart[] = [];
  const pending: Promise<void>[] = [];
  const finished = new Promise<void>((resolve, reject) => {
    parser.on("error", (error: unknown) => reject(error));
    parser.on("data", (data) => {
      if (data.type !== "attachment") return;
      if (pending.length === MAX_PARTS) {
        reject(new Refusal("bad-mail", "The mail has too many parts."));
        return;
      }
      const type = (data.contentType ?? "").trim().toLowerCase();
      const read = collect(data.content).then((bytes) => {
        parts.push({ type, bytes });
        data.release?.();
      });
      pending.push(read.catch(reject));
    });
    parser.on("end", resolve);
  });
  try {
    await Promise.race([finished, feed(parser, message)]);
    await finished;
    await Promise.all(pending);
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new Refusal("bad-mail", "The MIME structure of the mail cannot be read.");
  }
  return parts;
}

/** The members of a node of mailparser's tree that are used here. */
interface Node {
  readonly encoding: unknown;
  getDecoder: () => Transform;
}

const { createNode } = MailParser.prototype as unknown as { createNode(node: Node): unknown };

/** Replaces `createNode`, which asks the node for its decoder. */
function decodingInLines(this: MailParser, node: Node): unknown {
  if (node.encoding === "quoted-printable") node.getDecoder = () => new QuotedPrintableDecoder();
  return createNode.call(this, node);
}

/** Writes the message in pieces, because the parser works on each write without a pause. */
async function feed(parser: MailParser, message: Uint8Array): Promise<void> {
  for (let at = 0; at < message.length && !parser.destroyed; at += PIECE) {
    const isReady = parser.write(message.subarray(at, at + PIECE));
    if (!isReady) await new Promise((resolve) => parser.once("drain", resolve));
    await setImmediate();
  }
  parser.end();
}

/** The whole of a stream. It comes in lines; half a million small buffers would be too much. */
async function collect(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  let whole = Buffer.allocUnsafe(PIECE);
  let length = 0;
  for await (const chunk of stream) {
    if (length + chunk.length > whole.length) {
      const larger = Buffer.allocUnsafe(2 * (length + chunk.length));
      larger.set(whole.subarray(0, length));
      whole = larger;
    }
    whole.set(chunk, length);
    length += chunk.length;
  }
  return whole.subarray(0, length);
}
