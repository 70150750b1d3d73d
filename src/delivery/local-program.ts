/**
 * Runs a program of the operator: an argument vector, no shell, one input, one exit code. The codes
 * follow sysexits.h: 0 is success, 65 (EX_DATAERR) refuses this input permanently. Everything else,
 * 75 and a signal included, is temporary and is attributed to the program, not to the update.
 */
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { EXIT } from "../errors.js";
import type { Envelope } from "../outmail.js";
import type { KeyCompletion } from "./completion.js";
import {
  type DeliveryMethod,
  deliverMail,
  mailParts,
  type Outgoing,
  type Part,
} from "./delivery-method.js";
import { localMails } from "./local-mail.js";
import type { Outcome } from "./relay.js";

/** Timeout. A pipe of Postfix may take 1000 s, but a keyserver merges one key much sooner. */
const PROGRAM_MS = 120_000;
const WORDS = 300;

export class Program {
  #child: ChildProcess | undefined;

  /**
   * Runs `command` with `input` on its standard input. Never rejects. Only one call at a time is
   * allowed.
   */
  run(command: readonly string[], input: Uint8Array): Promise<Outcome> {
    const [name = "", ...args] = command;
    return new Promise((resolve) => {
      const child = spawn(name, args, { stdio: ["pipe", "ignore", "pipe"] });
      this.#child = child;
      const deadline = setTimeout(() => child.kill("SIGKILL"), PROGRAM_MS);
      let complaint = "";
      const end = (outcome: Outcome) => {
        clearTimeout(deadline);
        this.#child = undefined;
        resolve(outcome);
      };
      child.once("error", (error) => end(temporary(undefined, error.message)));
      // Without free file descriptors there are no pipes, contrary to the types. "error" reports
      // it.
      if (child.stdin === undefined) return;
      child.once("exit", (code, signal) => end(outcomeOf(name, code, signal, complaint)));
      child.stderr.on("data", (text: Buffer) => {
        if (complaint.length < WORDS) complaint += text.toString("latin1");
      });
      // A program may exit without reading all of its input.
      child.stdin.on("error", () => {});
      child.stdin.end(input);
    });
  }

  /** Kills the running program. */
  close(): void {
    this.#child?.kill("SIGKILL");
  }
}

function outcomeOf(
  name: string,
  code: number | null,
  signal: NodeJS.Signals | null,
  complaint: string,
): Outcome {
  if (code === EXIT.ok) return { kind: "delivered", how: "exited", reply: "" };
  const end = code === null ? `was ended by ${signal}` : `exited with ${code}`;
  const said = complaint.replaceAll(/[^\x20-\x7e]+/g, " ").trim();
  const words = `${name} ${end}${said === "" ? "" : `: ${said}`}`.slice(0, WORDS);
  if (code === EXIT.dataError) return { kind: "refused", code, words };
  return temporary(code ?? undefined, words);
}

function temporary(code: number | undefined, words: string): Outcome {
  return { kind: "temporary", about: "neighbour", code, words };
}

/** Pipes each mail into a program, as a mail alias does. Example: onak-mail.pl. */
export class ProgramDelivery implements DeliveryMethod {
  readonly #command: readonly string[];
  readonly #envelope: Envelope;
  readonly #completion: Pick<KeyCompletion, "learn"> | undefined;
  readonly #program = new Program();

  constructor(
    command: readonly string[],
    envelope: Envelope,
    completion?: Pick<KeyCompletion, "learn">,
  ) {
    this.#command = command;
    this.#envelope = envelope;
    this.#completion = completion;
  }

  parts(update: Outgoing, date: number): Part[] {
    const { kind } = this.#envelope;
    const made = (skeleton: Uint8Array | undefined) =>
      localMails({ ...update, skeleton }, this.#envelope, date);
    return mailParts(update, kind, this.#completion, made, ({ text, incomplete, oversized }) => {
      const run = () => this.#program.run(this.#command, text);
      const deliver = () => deliverMail({ incomplete }, kind, run);
      return { bytes: text.length, incomplete, oversized, deliver };
    });
  }

  close(): void {
    this.#program.close();
  }
}
