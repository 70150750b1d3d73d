/**
 * Posts updates to /pks/add of the keyserver beside us, as `gpg --send-keys` does, with our trail
 * in PKS-Recipients and ourselves in PKS-Sender and PKS-From (Hockeypuck 2.3 writes PKS-Sender and
 * reads none of them; our own door reads all three). What is answered is read, not only its status:
 * Hockeypuck says in JSON what it did with the key, SKS and onak in HTML; both refuse under a 200.
 *
 *  - Taken: JSON with the key as inserted, updated or ignored; HTML that says it was added.
 *  - Refused, for good: JSON with the key as invalid or nowhere; 400, 413, 422; SKS's 500
 *    "Exception raised", which is its answer to a key that it cannot parse.
 *  - Anything else is temporary, as is an answer that nobody here understands: it is never "sent".
 */
import { Refusal } from "../errors.js";
import { grownTrail } from "../mail/sent-trail.js";
import { encodeArmor } from "../openpgp/armor.js";
import { fragments } from "../openpgp/fragments.js";
import { readKeys } from "../openpgp/key.js";
import type { Courier, Outgoing, Part } from "./courier.js";
import type { Outcome } from "./transport.js";

const REQUEST_MS = 60_000;
/** Of an answer that counts; no keyserver says more about one key. */
const ANSWER_BYTES = 64 * 1024;
const WORDS = 300;
/** Of PKS-Recipients; many servers take 8 KiB of headers or refuse the request. */
const HEADER_BYTES = 6000;

/** Statuses that say that the key was read and will not do. */
const FINAL = [400, 413, 422];

export class HkpCourier implements Courier {
  readonly #url: string;
  readonly #site: string;
  /** Our own HKP address, if there is one. */
  readonly #base: string | undefined;
  readonly #maxBytes: number;
  #request = new AbortController();

  /**
   * `url` is the keyserver's, without /pks/add, `site` our mail address, `maxBytes` of one armor,
   * `base` our own HKP address, if we have one.
   */
  constructor(url: string, site: string, maxBytes: number, base?: string) {
    this.#base = base;
    this.#url = `${url}/pks/add`;
    this.#site = site;
    this.#maxBytes = maxBytes;
  }

  parts({ body, identity, trail }: Outgoing): Part[] {
    const [key] = readKeys(body);
    if (key === undefined || key instanceof Refusal) throw new Error("a body in the log is no key");
    const incomplete = key.userIds.length === 0 && identity === undefined;
    return fragments(key, identity, this.#maxBytes).map(({ packets }) => {
      const armor = encodeArmor(packets);
      const oversized = armor.length > this.#maxBytes;
      return {
        bytes: armor.length,
        incomplete,
        oversized,
        deliver: () => this.#post(armor, trail),
      };
    });
  }

  /** Ends the request under way. */
  close(): void {
    this.#request.abort(new Error("The attempt was broken off."));
  }

  async #post(armor: string, trail: readonly string[]): Promise<Outcome> {
    this.#request = new AbortController();
    const deadline = setTimeout(() => {
      this.#request.abort(new Error(`No answer within ${REQUEST_MS / 1000} s.`));
    }, REQUEST_MS);
    try {
      const response = await fetch(this.#url, {
        method: "POST",
        // Machine-readable, so that Hockeypuck answers in JSON whatever its templates.
        body: new URLSearchParams({ keytext: armor, options: "mr" }),
        headers: {
          "PKS-Sender": this.#site,
          ...(this.#base === undefined ? {} : { "PKS-From": this.#base }),
          "PKS-Recipients": recipients(grownTrail(trail, this.#site)),
        },
        redirect: "manual",
        signal: this.#request.signal,
      });
      return answerOf(response.status, await head(response));
    } catch (error) {
      return { kind: "temporary", code: undefined, words: reasonOf(error) };
    } finally {
      clearTimeout(deadline);
    }
  }
}

/** A trail as a header. One that is too long loses its oldest sites: it spares work, no more. */
function recipients(trail: readonly string[]): string {
  const entries: string[] = [];
  let bytes = 0;
  for (const address of trail.toReversed()) {
    bytes += address.length + "mailto:, ".length;
    if (bytes > HEADER_BYTES) break;
    entries.unshift(`mailto:${address}`);
  }
  return entries.join(", ");
}

/** The beginning of an answer. */
async function head(response: Response): Promise<string> {
  let text = "";
  if (response.body === null) return text;
  for await (const chunk of response.body) {
    text += Buffer.from(chunk).toString("latin1");
    if (text.length > ANSWER_BYTES) break;
  }
  return text;
}

/** What an answer of a keyserver comes to. */
export function answerOf(status: number, text: string): Outcome {
  const words = `${status} ${plain(text)}`.trim().slice(0, WORDS);
  if (FINAL.includes(status)) return { kind: "refused", code: status, words };
  const isSksRefusal = status === 500 && /Error handling request\. Exception raised/.test(text);
  if (isSksRefusal) return { kind: "refused", code: status, words };
  const temporary: Outcome = { kind: "temporary", code: status, words };
  if (status !== 200) return temporary;
  const summary = jsonObject(text);
  if (summary !== undefined) return outcomeOfSummary(summary, words) ?? temporary;
  const isAdded = /Key block added to key server database/i.test(text);
  return isAdded && !/\b(Error|0 key\(s\) added)\b/i.test(text)
    ? { kind: "delivered", reply: words }
    : temporary;
}

/**
 * Hockeypuck's summary; undefined when it is another JSON object. "inserted" says that it had no
 * such key, "updated" that its key grew by the update, "ignored" that it had all of it: each way it
 * has the update.
 */
function outcomeOfSummary(summary: object, words: string): Outcome | undefined {
  const count = (name: string) => {
    const list: unknown = Reflect.get(summary, name);
    return Array.isArray(list) ? list.length : 0;
  };
  if (count("inserted") + count("updated") + count("ignored") > 0) {
    return { kind: "delivered", reply: words };
  }
  const isSummary = ["inserted", "updated", "ignored", "invalid"].some((name) => name in summary);
  // Hockeypuck leaves empty lists out: an empty object says that it found no key in it.
  if (!isSummary && Object.keys(summary).length > 0) return undefined;
  return { kind: "refused", code: 200, words };
}

function jsonObject(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Without markup and style, for the operator. */
function plain(text: string): string {
  return text
    .replaceAll(/<style[\s\S]*?<\/style>|<[^>]*>/gi, " ")
    .replaceAll(/[^\x20-\x7e]+|\s+/g, " ")
    .trim();
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  // fetch says "fetch failed" and why in the cause.
  const cause = error.cause instanceof Error ? error.cause.message : "";
  return (cause === "" ? error.message : cause).slice(0, WORDS);
}
