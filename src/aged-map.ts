/**
 * A Map that gives its oldest key in constant time, for queues whose entries are deleted mostly at
 * the front. A new iterator of V8 walks over all entries that were deleted since the map was last
 * rehashed: with 10,000 entries that is 25 us for the first key. Here one iterator is kept.
 */
export class AgedMap<K, V = true> extends Map<K, V> {
  #rest = super.keys();
  /** The key before `#rest`, if it is not deleted. Every other key before it is. */
  #first: K | undefined;

  /** The key that was added first; undefined if the map is empty. */
  get oldest(): K | undefined {
    if (this.#first !== undefined) return this.#first;
    let next = this.#rest.next();
    if (next.done === true) {
      // An iterator that has ended does not see what is added later.
      this.#rest = super.keys();
      next = this.#rest.next();
    }
    this.#first = next.done === true ? undefined : next.value;
    return this.#first;
  }

  override delete(key: K): boolean {
    if (key === this.#first) this.#first = undefined;
    return super.delete(key);
  }

  override clear(): void {
    this.#first = undefined;
    super.clear();
  }
}
