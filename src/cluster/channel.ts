/**
 * Calls to the database thread that block until it answers, as a write to a file does. An answer
 * that comes after the time limit is dropped.
 */
import { MessageChannel, receiveMessageOnPort, Worker } from "node:worker_threads";
import type { Clock } from "../clock.js";
import { Trouble } from "../errors.js";
import { awayTrouble } from "./database-trouble.js";
import type { Answer, Asked, Note, Request, SharedEvent, WorkerSettings } from "./messages.js";
import type { WorkerData } from "./worker.js";

export class Channel {
  readonly #worker: Worker;
  readonly #port;
  readonly #signal = new Int32Array(new SharedArrayBuffer(4));
  readonly #clock: Pick<Clock, "monotonic">;
  readonly #ended: Promise<void>;
  #id = 0;

  /** Starts the thread from the file `program`; `onEvent` is called for its events. */
  constructor(
    program: URL,
    settings: WorkerSettings,
    clock: Pick<Clock, "monotonic">,
    onEvent: (event: SharedEvent) => void,
  ) {
    this.#clock = clock;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const workerData: WorkerData = { settings, port: port2, signal: this.#signal };
    this.#worker = new Worker(program, { workerData, transferList: [port2] });
    this.#worker.on("message", onEvent);
    this.#ended = new Promise((resolve) => this.#worker.once("exit", () => resolve()));
    // The thread must not keep the process of a finished command alive.
    this.#worker.unref();
    this.#port.unref();
  }

  /**
   * Returns the answer to `request`. Throws `Trouble`: that of the thread, or 'away' when there is
   * no answer within `waitMs`; then the thread ends the session.
   */
  call(request: Request, generation: number, waitMs: number): unknown {
    this.#id += 1;
    const asked: Asked = { id: this.#id, generation, request };
    this.#port.postMessage(asked);
    const until = this.#clock.monotonic() + waitMs;
    for (;;) {
      const seen = Atomics.load(this.#signal, 0);
      const answer = receiveMessageOnPort(this.#port)?.message as Answer | undefined;
      if (answer === undefined) {
        const left = until - this.#clock.monotonic();
        if (left <= 0) break;
        Atomics.wait(this.#signal, 0, seen, left);
      } else if (answer.id === this.#id) return contentOf(answer);
    }
    const problem = `no answer within ${waitMs / 1000} s`;
    this.note({ type: "drop", problem });
    throw awayTrouble(problem);
  }

  note(note: Note): void {
    this.#worker.postMessage(note);
  }

  /** Ends the session and the thread; resolves when it has ended, at most `waitMs` later. */
  async close(waitMs: number): Promise<void> {
    this.note({ type: "close" });
    const late = setTimeout(() => void this.#worker.terminate(), waitMs);
    await this.#ended;
    clearTimeout(late);
    this.#port.close();
  }
}

function contentOf(answer: Answer): unknown {
  if (!("trouble" in answer)) return answer.value;
  const { kind, message, remedy } = answer.trouble;
  throw new Trouble(kind, message, remedy);
}
