/**
 * Posts updates to /pks/add of the keyserver beside us, as `gpg --send-keys` does, with our trail
 * in PKS-Recipients. What it answers is read, not only its status: Hockeypuck says in JSON what it
 * did with the key, SKS and onak in HTML, and both may refuse one under a 200.
 *
 *  - Taken: JSON with the key as inserted, updated or ignored; HTML that says it was added.
 *  - Refused, for good: JSON with the key as invalid or nowhere; 400, 413, 422; SKS's 500
 *    "Exception raised", which is its answer to a key that it cannot parse.
 *  - Anything else is temporary: no answer, 401, 404, 5xx, a page that nobody here understands. An
 *    answer that is not understood never counts as sent.
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

/** Statuses that say that the key was read and will not do. */
const FINAL = [400, 413, 422];

export class HkpCourier implements Courier {
  readonly #url: string;
  readonly #site: string;
  readonly #maxBytes: number;
  #request = new AbortController();

  /** `url` is the keyserver's, without /pks/add, `site` our address, `maxBytes` of one armor. */
  constructor(url: string, site: string, maxBytes: number) {
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
      const recipients = grownTrail(trail, this.#site).map((address) => `mailto:${address}`);
      const response = await fetch(this.#url, {
        method: "POST",
        // Machine-readable, so that Hockeypuck answers in JSON whatever its templates.
        body: new URLSearchParams({ keytext: armor, options: "mr" }),
        headers: { "PKS-Sender": this.#site, "PKS-Recipients": recipients.join(", ") },
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

/** Hockeypuck's summary; undefined when it is another JSON object. */
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
