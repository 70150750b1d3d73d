/**
 * The set of a model server as a prefix tree, split and joined as SKS does it. Samples are made of
 * the sum of the hashes of all elements instead of their polynomial: equal sets have equal ones,
 * other sets have others, which is all that a client that follows sees of them.
 */
import { createHash } from "node:crypto";

export interface TreeShape {
  readonly bitQuantum: number;
  readonly mbar: number;
  /** A leaf is split when it has more elements than this times mbar. */
  readonly threshold: number;
}

export const SKS_SHAPE: TreeShape = { bitQuantum: 2, mbar: 5, threshold: 10 };

export interface Node {
  readonly prefix: string;
  size: number;
  /** XOR of the hashes of all elements. */
  readonly sum: Buffer;
  /** The MD5s of a leaf in hex; undefined for an inner node. */
  elements: Set<string> | undefined;
  children: Node[] | undefined;
}

function node(prefix: string): Node {
  return {
    ...{ prefix, size: 0, sum: Buffer.alloc(16) },
    ...{ elements: new Set<string>(), children: undefined },
  };
}

export class ModelTree {
  readonly shape: TreeShape;
  root: Node = node("");

  constructor(shape: TreeShape = SKS_SHAPE) {
    this.shape = shape;
  }

  get size(): number {
    return this.root.size;
  }

  /** Adds an MD5 in hex; false when it is there. */
  add(md5: string): boolean {
    if (this.has(md5)) return false;
    const hash = hashOf(md5);
    let at = this.root;
    for (;;) {
      at.size += 1;
      xor(at.sum, hash);
      if (at.children === undefined) break;
      at = this.#child(at, md5);
    }
    at.elements?.add(md5);
    this.#split(at);
    return true;
  }

  /** Takes an MD5 away; false when it is not there. */
  remove(md5: string): boolean {
    if (!this.has(md5)) return false;
    const hash = hashOf(md5);
    let at = this.root;
    let joined: Node | undefined;
    for (;;) {
      at.size -= 1;
      xor(at.sum, hash);
      if (at.children === undefined) break;
      const { mbar, threshold } = this.shape;
      if (joined === undefined && at.size < (mbar * threshold) / 2) joined = at;
      at = this.#child(at, md5);
    }
    at.elements?.delete(md5);
    if (joined !== undefined) {
      joined.elements = new Set(elementsOf(joined));
      joined.children = undefined;
    }
    return true;
  }

  has(md5: string): boolean {
    let at = this.root;
    while (at.children !== undefined) at = this.#child(at, md5);
    return at.elements?.has(md5) === true;
  }

  all(): string[] {
    return elementsOf(this.root);
  }

  /** Whether a server sends all elements of the node. */
  isSmall({ children, size }: Node): boolean {
    return children === undefined || size < this.shape.mbar;
  }

  /** `mbar` + 1 elements of the field. */
  samplesOf({ sum, size }: Node): Buffer {
    const samples = Array.from({ length: this.shape.mbar + 1 }, (_, point) => {
      const hash = createHash("md5").update(`${point} ${size} `).update(sum).digest();
      return Buffer.concat([hash, Buffer.of(0)]);
    });
    return Buffer.concat(samples);
  }

  #split(leaf: Node): void {
    const { bitQuantum, mbar, threshold } = this.shape;
    if (leaf.size <= mbar * threshold || leaf.elements === undefined) return;
    if (leaf.prefix.length + bitQuantum > 128) return;
    leaf.children = Array.from({ length: 2 ** bitQuantum }, (_, index) =>
      node(leaf.prefix + index.toString(2).padStart(bitQuantum, "0")),
    );
    for (const md5 of leaf.elements) {
      const child = this.#child(leaf, md5);
      child.size += 1;
      xor(child.sum, hashOf(md5));
      child.elements?.add(md5);
    }
    leaf.elements = undefined;
    for (const child of leaf.children) this.#split(child);
  }

  #child({ prefix, children = [] }: Node, md5: string): Node {
    const from = prefix.length;
    let index = 0;
    for (let bit = from; bit < from + this.shape.bitQuantum; bit++) {
      const digit = Number.parseInt(md5[bit >> 2] ?? "0", 16);
      index = index * 2 + ((digit >> (3 - (bit & 3))) & 1);
    }
    const child = children[index];
    if (child === undefined) throw new Error("an inner node without its children");
    return child;
  }
}

export function elementsOf({ elements, children = [] }: Node): string[] {
  return elements === undefined ? children.flatMap(elementsOf) : [...elements];
}

function hashOf(md5: string): Buffer {
  return createHash("md5").update(md5).digest();
}

function xor(sum: Buffer, other: Buffer): void {
  for (let at = 0; at < 16; at++) sum[at] = (sum[at] ?? 0) ^ (other[at] ?? 0);
}
