/**
 * The key index that a running gateway uses. It is opened when it is first needed, since it may be
 * built while the gateway runs, and opened again after a new build took its place.
 */
import { Trouble } from "../errors.js";
import type { KeyState, RangeState } from "../kx/range-sum.js";
import type { KeySet } from "../kx/reconcile.js";
import type { Fingerprint } from "../update.js";
import { KeyIndex } from "./key-index.js";

export class KeyIndexFile implements KeySet {
  readonly #path: string;
  #index: KeyIndex | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** The index as it is now; undefined if there is none. Throws `Trouble`. */
  refresh(): KeyIndex | undefined {
    if (this.#index?.isInPlace === true) return this.#index;
    this.close();
    this.#index = KeyIndex.open(this.#path);
    return this.#index;
  }

  /** The index of the last `refresh`. */
  get #open(): KeyIndex {
    if (this.#index !== undefined) return this.#index;
    const remedy = 'Make it with "kxgw index build".';
    throw new Trouble("unusable", `${this.#path}: there is no key index`, remedy);
  }

  state(prefix: string): RangeState {
    return this.#open.state(prefix);
  }

  keys(prefix: string): Iterable<KeyState> {
    return this.#open.keys(prefix);
  }

  digestOf(fingerprint: Fingerprint): string | undefined {
    return this.#open.digestOf(fingerprint);
  }

  close(): void {
    this.#index?.close();
    this.#index = undefined;
  }
}
