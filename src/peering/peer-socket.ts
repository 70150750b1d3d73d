/**
 * One socket of a KX peer. It joins the messages of one turn of the event loop into one write,
 * splits large ones, reports once a turn how much is unsent, and destroys the socket of a peer that
 * does not close its side in time. It does not know the protocol.
 */
import type { Socket } from "node:net";

/** Bytes in one write: progress of a slow peer is seen while a large answer is sent. */
const WRITE_BYTES = 64 * 1024;
/** How long a peer may take to read the rest and close its side after we closed ours. */
const LINGER_MS = 10_000;

export class PeerSocket {
  readonly id: number;
  readonly peer: string;
  readonly socket: Socket;
  readonly #flushed: (unsentBytes: number) => void;
  #lingering: NodeJS.Timeout | undefined;
  /**
   * Messages of this turn that are not written yet. One system call per message would be expensive.
   */
  #said: Uint8Array[] = [];
  #saidBytes = 0;
  #isFlushing = false;

  /** `flushed` gets the number of unsent bytes, at most once in a turn of the event loop. */
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

  /** Closes our side after the last write, and destroys the socket if the peer does not close. */
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
