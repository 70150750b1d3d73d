/**
 * Fetches whole keys from a keyserver by POST /pks/hashquery. Time and size of an answer are
 * limited. Redirections are not followed, and an answer is not decompressed. Each key in the answer
 * is compared with the MD5s of the question, because the answer does not name its keys.
 */
import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { Refusal } from "../errors.js";
import { sksDigests } from "../openpgp/sks-digest.js";
import { encodeQuestion, readAnswer } from "../recon/hashquery.js";
import { ReconFault } from "../recon/wire.js";

export interface QuestionLimits {
  /** From the connection to the last octet. */
  readonly requestMs: number;
  /** Of an answer. */
  readonly octets: number;
}

/** A key that was asked for. */
export interface FetchedKey {
  readonly md5: Buffer;
  readonly key: Uint8Array;
}

export type QuestionResult =
  | {
      readonly kind: "answer";
      readonly keys: readonly FetchedKey[];
      /** Keys in the answer with an MD5 that was not asked for. */
      readonly foreign: readonly Uint8Array[];
    }
  /** The answer has more octets than are read. */
  | { readonly kind: "too-large" }
  /** It does not answer, or not as a keyserver does; the next time may be better. */
  | {
      readonly kind: "failed";
      readonly words: string;
      /** Whether the body of its answer breaks the protocol. */
      readonly isFault: boolean;
      /** Whether it answered over HTTP: with such a body, or with another status than 200. */
      readonly hasAnswered: boolean;
    };

const WORDS = 200;

class TooLarge extends Error {}

/** An answer with a head that is not that of an answer to a hashquery. */
class WrongHead extends Error {}

/** Asks the keyserver at `url` for keys. Never rejects; `signal` breaks it off. */
export async function askForKeys(
  url: string,
  md5s: readonly Buffer[],
  limits: QuestionLimits,
  signal: AbortSignal,
): Promise<QuestionResult> {
  const deadline = AbortSignal.timeout(limits.requestMs);
  try {
    const either = AbortSignal.any([signal, deadline]);
    const body = await post(`${url}/pks/hashquery`, encodeQuestion(md5s), limits.octets, either);
    return sorted(readAnswer(body, md5s.length), md5s);
  } catch (error) {
    if (error instanceof TooLarge) return { kind: "too-large" };
    if (deadline.aborted) {
      const words = `no answer within ${limits.requestMs / 1000} s`;
      return { kind: "failed", words, isFault: false, hasAnswered: false };
    }
    const isFault = error instanceof ReconFault;
    const words = isFault ? `it sent ${error.message}` : reasonOf(error);
    const hasAnswered = isFault || error instanceof WrongHead;
    return { kind: "failed", words, isFault, hasAnswered };
  }
}

/** The keys by the MD5s that were asked for, each once. */
function sorted(keys: readonly Uint8Array[], md5s: readonly Buffer[]): QuestionResult {
  const asked = new Map(md5s.map((md5) => [md5.toString("hex"), md5]));
  const found: FetchedKey[] = [];
  const foreign: Uint8Array[] = [];
  for (const key of keys) {
    const name = digestsOf(key).find((digest) => asked.has(digest)) ?? "";
    const md5 = asked.get(name);
    asked.delete(name);
    if (md5 === undefined) foreign.push(key);
    else found.push({ md5, key });
  }
  return { kind: "answer", keys: found, foreign };
}

function digestsOf(key: Uint8Array): string[] {
  try {
    return sksDigests(key).map((digest) => digest.toString("hex"));
  } catch (error) {
    if (error instanceof Refusal) return [];
    throw error;
  }
}

function post(url: string, body: Buffer, most: number, signal: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const send = url.startsWith("https:") ? httpsRequest : httpRequest;
    const headers = {
      "content-type": "sks/hashquery",
      "content-length": body.length,
      "accept-encoding": "identity",
    };
    const request = send(url, { method: "POST", headers, signal });
    request.on("error", reject);
    request.on("response", (response) => {
      const wrong = wrongHead(response);
      if (wrong !== undefined) {
        request.destroy();
        return reject(new WrongHead(wrong));
      }
      const chunks: Buffer[] = [];
      let size = 0;
      response.on("error", reject);
      response.on("data", (chunk: Buffer) => {
        size += chunk.length;
        if (size <= most) return void chunks.push(chunk);
        request.destroy();
        reject(new TooLarge());
      });
      response.on("aborted", () => reject(new Error("it closed the connection in its answer")));
      response.on("end", () => resolve(Buffer.concat(chunks)));
    });
    request.end(body);
  });
}

function wrongHead({ statusCode = 0, statusMessage, headers }: IncomingMessage) {
  if (statusCode !== 200) return `it answered ${statusCode} ${statusMessage ?? ""}`.trim();
  const coding = headers["content-encoding"] ?? "identity";
  return coding === "identity" ? undefined : `its answer is encoded as ${coding.slice(0, 20)}`;
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  // A name with several addresses has an error for each.
  const first = error instanceof AggregateError ? error.errors[0] : error;
  const words = first instanceof Error ? first.message : error.message;
  return words.replace(/[^ -~]/g, "?").slice(0, WORDS);
}
