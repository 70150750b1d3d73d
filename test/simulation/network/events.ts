/**
 * The one queue of a counted world: what happens next, by time and then by order of entry, so that
 * the same seed gives the same run. Numbers only, in arrays that grow: tens of millions of events
 * pass through it.
 */
export interface Happening {
  /** Milliseconds since the world began. */
  at: number;
  kind: number;
  /** Three numbers whose meaning depends on the kind. */
  a: number;
  b: number;
  c: number;
}

const FIELDS = 4;

export class EventQueue {
  #size = 0;
  #order = 0;
  #at = new Float64Array(1024);
  #entered = new Float64Array(1024);
  #data = new Int32Array(1024 * FIELDS);

  get size(): number {
    return this.#size;
  }

  push(at: number, kind: number, a: number, b: number, c: number): void {
    if (this.#size === this.#at.length) this.#grow();
    let hole = this.#size++;
    this.#order += 1;
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      if ((this.#at[parent] ?? 0) <= at) break;
      this.#move(parent, hole);
      hole = parent;
    }
    this.#put(hole, at, this.#order, kind, a, b, c);
  }

  /** Takes the next one into `out`; false when there is none. */
  take(out: Happening): boolean {
    if (this.#size === 0) return false;
    out.at = this.#at[0] ?? 0;
    out.kind = this.#data[0] ?? 0;
    out.a = this.#data[1] ?? 0;
    out.b = this.#data[2] ?? 0;
    out.c = this.#data[3] ?? 0;
    this.#size -= 1;
    if (this.#size > 0) this.#sink();
    return true;
  }

  /** The last one sinks from the top to its place. */
  #sink(): void {
    const last = this.#size;
    const [at, entered] = [this.#at[last] ?? 0, this.#entered[last] ?? 0];
    let hole = 0;
    for (;;) {
      let child = 2 * hole + 1;
      if (child >= last) break;
      if (child + 1 < last && this.#isBefore(child + 1, child)) child += 1;
      const childAt = this.#at[child] ?? 0;
      if (at < childAt || (at === childAt && entered < (this.#entered[child] ?? 0))) break;
      this.#move(child, hole);
      hole = child;
    }
    this.#move(last, hole);
  }

  #isBefore(a: number, b: number): boolean {
    const [x, y] = [this.#at[a] ?? 0, this.#at[b] ?? 0];
    return x < y || (x === y && (this.#entered[a] ?? 0) < (this.#entered[b] ?? 0));
  }

  #move(from: number, to: number): void {
    this.#at[to] = this.#at[from] ?? 0;
    this.#entered[to] = this.#entered[from] ?? 0;
    this.#data.copyWithin(to * FIELDS, from * FIELDS, (from + 1) * FIELDS);
  }

  #put(to: number, at: number, entered: number, ...data: readonly number[]): void {
    this.#at[to] = at;
    this.#entered[to] = entered;
    this.#data.set(data, to * FIELDS);
  }

  #grow(): void {
    const wider = 2 * this.#at.length;
    const [at, entered] = [new Float64Array(wider), new Float64Array(wider)];
    const data = new Int32Array(wider * FIELDS);
    at.set(this.#at);
    entered.set(this.#entered);
    data.set(this.#data);
    [this.#at, this.#entered, this.#data] = [at, entered, data];
  }
}
