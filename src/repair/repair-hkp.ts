/**
 * One question to a keyserver over HKP: the key of a fingerprint, as text (op=get, options=mr;
 * draft-gallagher-openpgp-hkp section 3). Time and size of the answer are limited, and redirects
 * are not followed. The caller checks that it is the right key.
 */
import { bodyWithin, isBareSignature, wholeKey } from "../hkp-whole.js";
import { encodeArmor } from "../openpgp/armor.js";
import type { Fingerprint } from "../update.js";

/** The result of a question. */
export type LookUpResult =
  | { readonly kind: "found"; readonly text: Uint8Array }
  /** The keyserver does not have the key. */
  | { readonly kind: "absent"; readonly words: string }
  /** No answer, or not that of a keyserver. The question can be repeated. */
  | { readonly kind: "failed"; readonly words: string; readonly isTooLarge?: true };

export interface LookUpLimits {
  readonly requestMs: number;
  /** Size of an answer. */
  readonly bytes: number;
}

const ABSENT = [404, 410];
const WORDS = 200;

/** Asks the keyserver at `url`, which has no path. Never rejects. `signal` cancels. */
export async function lookUp(
  url: string,
  fingerprint: Fingerprint,
  { requestMs, bytes }: LookUpLimits,
  signal: AbortSignal,
): Promise<LookUpResult> {
  const asked = `${url}/pks/lookup?op=get&options=mr&search=0x${fingerprint}`;
  const deadline = AbortSignal.timeout(requestMs);
  const either = AbortSignal.any([signal, deadline]);
  try {
    const response = await fetch(asked, { redirect: "manual", signal: either });
    const { status } = response;
    if (status !== 200) {
      await response.body?.cancel();
      const isAbsent = ABSENT.includes(status);
      return isAbsent
        ? { kind: "absent", words: "does not have it" }
        : { kind: "failed", words: `answered ${status} ${response.statusText}`.trim() };
    }
    const text = await bodyWithin(response, bytes);
    if (text === undefined) {
      return { kind: "failed", words: `the answer exceeds ${bytes} bytes`, isTooLarge: true };
    }
    // A key that is revoked for good, which is shown elsewhere.
    const whole = isBareSignature(text) ? await wholeKey(url, fingerprint, either) : undefined;
    return { kind: "found", text: whole ? Buffer.from(encodeArmor(whole)) : text };
  } catch (error) {
    if (deadline.aborted)
      return { kind: "failed", words: `no answer within ${requestMs / 1000} s` };
    return { kind: "failed", words: reasonOf(error) };
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  // The message of fetch is "fetch failed"; the cause has the reason.
  const cause = error.cause instanceof Error ? error.cause.message : "";
  return (cause === "" ? error.message : cause).slice(0, WORDS);
}
