/**
 * One socket of a KX peer: writes what is said in one turn of the event loop as one, and much of it
 * in parts, tells in one word a turn what has left, and gives a peer that does not close its side a
 * limited patience. Knows no protocol.
 */
import type { Socket } from "node:net";

/** Written at once, so that a slow peer is seen to move while a large answer leaves. */
const WRITE_BYTES = 64 * 1024;
/** How long a peer may take to read the rest and to close its side after we closed ours. */
const LINGER_MS = 10_000;

export class PeerSocket {
  readonly id: number;
  readonly peer: string;
  readonly socket: Socket;
  readonly #flushed: (unsentBytes: number) => void;
  #lingering: NodeJS.Timeout | undefined;
  /** Said in this turn and not yet written. A system call a message would cost more than it. */
  #said: Uint8Array[] = [];
  #saidBytes = 0;
  #isFlushing = false;

  /** `flushed` hears how much is still unsent, at most once in a turn of the event loop. */
  constructor(id: number, peer: string, socket: Socket, flushed: (unsentBytes: number) => void) {
    this.id = id;
    this.peer = peer;
    this.socket = socket;
    this.#flushed = flushed;
    socket.setNoDelay(true);
    socket.on("close", () => clearTimeout(this.#lingering));
  }

  write(bytes: Uint8Array): void {
    if (this.#said.length === 0) process.nextTick(() => this.#writeSaid());
    this.#said.push(bytes);
    this.#saidBytes += bytes.length;
    if (this.#saidBytes >= WRITE_BYTES) this.#writeSaid();
  }

  #writeSaid(): void {
    const bytes = this.#said.length === 1 ? this.#said[0] : Buffer.concat(this.#said);
    this.#said = [];
    this.#saidBytes = 0;
    if (bytes === undefined) return;
    for (let at = 0; at < bytes.length && this.socket.writable; at += WRITE_BYTES) {
      this.socket.write(bytes.subarray(at, at + WRITE_BYTES), () => this.#hasWritten());
    }
  }

  /** Closes our side once what was written has left, and the other one if the peer does not. */
  end(): void {
    this.#writeSaid();
    this.socket.end();
    if (this.socket.closed) return;
    this.#lingering ??= setTimeout(() => this.socket.destroy(), LINGER_MS);
  }

  #hasWritten(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    setImmediate(() => {
      this.#isFlushing = false;
      if (!this.socket.destroyed) this.#flushed(this.socket.writableLength);
    });
  }
}
