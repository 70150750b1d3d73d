/**
 * The wire format of recon, in both directions: frames and the messages in them (SKS
 * `reconMessages`, Hockeypuck `conflux/recon`). Integers have 32 bits, big-endian. A frame is its
 * length followed by its octets. A message is a frame that begins with a type octet. The status of
 * the configuration is a frame without a type. Every length and count is checked against its frame.
 */

/** Why data of a server is invalid, in words for the operator. */
export class ReconFault extends Error {}

/** The message types that a server sends to a client, and the types of the replies. */
const TYPE = {
  poly: 0,
  full: 1,
  elements: 2,
  syncFail: 4,
  done: 5,
  flush: 6,
  error: 7,
  config: 10,
} as const;

/** SKS and Hockeypuck encode elements of their field little-endian in this number of octets. */
export const ELEMENT_OCTETS = 17;
/** An element of a set is an MD5 followed by a zero octet. */
export const MD5_OCTETS = 16;

/**
 * Maximum length of a frame: 60,000 elements. A leaf has 50 elements, a configuration some 200
 * octets.
 */
export const MAX_FRAME = 1024 * 1024;
/** Maximum number of entries in a configuration. A server sends five or six. */
const MAX_ENTRIES = 64;
/** Maximum length of a name, value or text of a server. */
const MAX_TEXT = 4096;
/** Maximum length of a prefix in bits: the length of an MD5. */
export const MAX_BITS = 128;

/** The order of the field, little-endian. */
const ORDER = littleEndian(530512889551602322505127520352579437339n);

/** The configuration that a server announces. */
export interface ReconConfig {
  readonly version: string;
  /** Number of bits of an MD5 that select a child of a node. */
  readonly bitQuantum: number;
  /** One less than the number of samples of a node. */
  readonly mbar: number;
  /** Names of filters, separated by commas. */
  readonly filters: string;
  /** The message as received, to be sent back. */
  readonly message: Uint8Array;
}

export type ReconMessage =
  /** The server's set under `prefix`, as a count and samples of its polynomial. */
  | {
      readonly type: "poly";
      readonly prefix: string;
      readonly size: number;
      readonly samples: Uint8Array;
    }
  /** The server's complete set under `prefix`. */
  | { readonly type: "full"; readonly prefix: string; readonly elements: readonly Uint8Array[] }
  | { readonly type: "flush" }
  | { readonly type: "done" }
  | { readonly type: "error"; readonly words: string }
  | { readonly type: "config"; readonly config: ReconConfig };

/** Splits a stream into frames. Buffers at most one incomplete frame. */
export class Frames {
  #rest: Uint8Array = new Uint8Array(0);

  /** Returns the frames that `data` completes. Throws ReconFault for a frame that is too long. */
  take(data: Uint8Array): Uint8Array[] {
    const all = this.#rest.length === 0 ? data : Buffer.concat([this.#rest, data]);
    const view = new DataView(all.buffer, all.byteOffset, all.byteLength);
    const frames: Uint8Array[] = [];
    let at = 0;
    while (at + 4 <= all.length) {
      const length = view.getUint32(at);
      if (length > MAX_FRAME) throw new ReconFault(`a message of ${length} octets`);
      if (at + 4 + length > all.length) break;
      frames.push(all.subarray(at + 4, at + 4 + length));
      at += 4 + length;
    }
    this.#rest = all.subarray(at);
    return frames;
  }
}

/** Parses the message in a frame. Throws ReconFault. */
export function readMessage(frame: Uint8Array): ReconMessage {
  const octets = new Octets(frame);
  const type = octets.octet();
  const message = bodyOf(type, octets, frame);
  if (octets.left > 0) throw new ReconFault(`${octets.left} octets too many in type ${type}`);
  return message;
}

function bodyOf(type: number, octets: Octets, frame: Uint8Array): ReconMessage {
  switch (type) {
    case TYPE.poly: {
      const prefix = readPrefix(octets);
      const size = octets.number();
      const samples = octets.bytes(octets.count(ELEMENT_OCTETS) * ELEMENT_OCTETS);
      for (const sample of elementsOf(samples)) assertInField(sample);
      return { type: "poly", prefix, size, samples };
    }
    case TYPE.full: {
      const prefix = readPrefix(octets);
      const list = octets.bytes(octets.count(ELEMENT_OCTETS) * ELEMENT_OCTETS);
      const elements = elementsOf(list).map((element) => {
        assertInField(element);
        if (element[MD5_OCTETS] !== 0) throw new ReconFault("an element that is not an MD5");
        return element.subarray(0, MD5_OCTETS);
      });
      return { type: "full", prefix, elements };
    }
    case TYPE.done:
      return { type: "done" };
    case TYPE.flush:
      return { type: "flush" };
    case TYPE.error:
      return { type: "error", words: octets.text() };
    case TYPE.config:
      return { type: "config", config: readConfig(octets, frame) };
    default:
      throw new ReconFault(`a message of type ${type}`);
  }
}

/** Returns the text of a frame without a type, such as the status. */
export function readText(frame: Uint8Array): string {
  return textOf(frame);
}

/** Builds a frame with these octets. */
export function frameOf(octets: Uint8Array): Uint8Array {
  const frame = Buffer.alloc(4 + octets.length);
  frame.writeUInt32BE(octets.length);
  frame.set(octets, 4);
  return frame;
}

/** "The configuration is accepted." */
export const PASSED: Uint8Array = frameOf(Buffer.from("passed"));
/** "You lack nothing": an empty set of elements. */
export const NOTHING: Uint8Array = frameOf(Buffer.from([TYPE.elements, 0, 0, 0, 0]));
/** "The sets differ by too much": the server then sends the children of the node. */
export const SYNC_FAIL: Uint8Array = frameOf(Buffer.from([TYPE.syncFail]));

/** The prefix of an MD5, as digits 0 and 1. */
export function prefixOf(md5: Uint8Array, bits: number): string {
  let prefix = "";
  for (let bit = 0; bit < bits; bit++) prefix += ((md5[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1;
  return prefix;
}

/** Whether the MD5 begins with the bits of `prefix`. */
export function isUnder(prefix: string, md5: Uint8Array): boolean {
  for (let bit = 0; bit < prefix.length; bit++) {
    const digit = ((md5[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1;
    if (prefix.charCodeAt(bit) - 48 !== digit) return false;
  }
  return true;
}

/** Reads a bit count and the octets that hold the bits, most significant bit first. */
function readPrefix(octets: Octets): string {
  const bits = octets.number();
  if (bits > MAX_BITS) throw new ReconFault(`a prefix of ${bits} bits`);
  const bytes = octets.string();
  if (bytes.length !== Math.ceil(bits / 8)) {
    throw new ReconFault(`a prefix of ${bits} bits in ${bytes.length} octets`);
  }
  return prefixOf(bytes, bits);
}

function readConfig(octets: Octets, message: Uint8Array): ReconConfig {
  const entries = octets.number();
  if (entries > MAX_ENTRIES) throw new ReconFault(`a configuration of ${entries} entries`);
  const values = new Map<string, Uint8Array>();
  for (let entry = 0; entry < entries; entry++) values.set(octets.text(), octets.string());
  const integer = (name: string) => {
    const value = values.get(name);
    if (value?.length !== 4) throw new ReconFault(`a configuration without ${name}`);
    return new Octets(value).number();
  };
  const [bitQuantum, mbar] = [integer("bitquantum"), integer("mbar")];
  if (bitQuantum < 1 || bitQuantum > 8) throw new ReconFault(`a bitquantum of ${bitQuantum}`);
  if (mbar < 1 || mbar > 1000) throw new ReconFault(`an mbar of ${mbar}`);
  const text = (name: string) => textOf(values.get(name) ?? new Uint8Array(0));
  return { version: text("version"), bitQuantum, mbar, filters: text("filters"), message };
}

function elementsOf(list: Uint8Array): Uint8Array[] {
  return Array.from({ length: list.length / ELEMENT_OCTETS }, (_, index) =>
    list.subarray(index * ELEMENT_OCTETS, (index + 1) * ELEMENT_OCTETS),
  );
}

function assertInField(element: Uint8Array): void {
  for (let at = ELEMENT_OCTETS - 1; at >= 0; at--) {
    const difference = (element[at] ?? 0) - (ORDER[at] ?? 0);
    if (difference < 0) return;
    if (difference > 0) break;
  }
  throw new ReconFault("an element outside the field");
}

function littleEndian(value: bigint): Uint8Array {
  const octets = new Uint8Array(ELEMENT_OCTETS);
  for (let at = 0; at < ELEMENT_OCTETS; at++) octets[at] = Number((value >> BigInt(8 * at)) & 255n);
  return octets;
}

/** Replaces control characters, since the text is displayed. */
function textOf(octets: Uint8Array): string {
  if (octets.length > MAX_TEXT) throw new ReconFault(`a text of ${octets.length} octets`);
  return Buffer.from(octets)
    .toString("latin1")
    .replace(/[^ -~]/g, "?");
}

/** A cursor over the octets of a frame. */
class Octets {
  readonly #data: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(data: Uint8Array) {
    this.#data = data;
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  }

  get left(): number {
    return this.#data.length - this.#at;
  }

  octet(): number {
    return this.bytes(1)[0] ?? 0;
  }

  number(): number {
    const at = this.#at;
    this.bytes(4);
    return this.#view.getUint32(at);
  }

  /** Reads the count of a list whose elements have `size` octets. */
  count(size: number): number {
    const count = this.number();
    if (count * size > this.left) throw new ReconFault(`${count} elements in ${this.left} octets`);
    return count;
  }

  /** Reads a length and that number of octets. */
  string(): Uint8Array {
    return this.bytes(this.number());
  }

  text(): string {
    return textOf(this.string());
  }

  bytes(length: number): Uint8Array {
    if (length > this.left) throw new ReconFault("a message that is cut short");
    this.#at += length;
    return this.#data.subarray(this.#at - length, this.#at);
  }
}
