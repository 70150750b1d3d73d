/**
 * Mail between the servers of a simulated world: one store-and-forward relay for all. What it has
 * taken it keeps over every crash, tries again until the host takes it, and gives back when it is
 * refused or has become too old. Faults, by chance and only while they are on: it takes nothing for
 * now, it takes a mail and its answer is lost, a host's answer is lost so that it comes twice,
 * it bounces what it took, it loses it (only in worlds that allow for that, since a mail network
 * that loses cannot converge), or it takes its time. It asks the host about each mail while the
 * sender waits, so a site that is down, or has something against the keys in it, says so there.
 */
import type { Outcome } from "../../src/delivery/relay.js";
import type { Dice } from "./dice.js";
import type { EventQueue } from "./queue.js";
import type { Trace } from "./trace.js";

export interface Mail {
  /** Host that handed it over. */
  readonly from: string;
  /** Of the envelope; empty for a bounce. */
  readonly sender: string;
  readonly recipient: string;
  readonly raw: Uint8Array;
}

/** What a host says to a mail: 250, not now, or never. `undefined` is a connection that broke. */
export type Answer = "taken" | "later" | { readonly code: number; readonly words: string };

export interface MailHost {
  readonly name: string;
  /** Domain of the addresses whose mail it takes. */
  readonly domain: string;
  /** Answers once, later or at once; undefined when the connection broke. */
  deliver(mail: Mail, answer: (answer: Answer | undefined) => void): void;
  /** What its mail system has against a mail at the end of DATA; nothing when it takes it. */
  screen?(mail: Mail): { readonly code: number; readonly words: string } | undefined;
  /** Whether it takes no connection at present. */
  readonly isDown?: boolean;
}

export interface PostalOptions {
  readonly delayMs: readonly [number, number];
  /** Shares of the mails; 0 for a fault that this world does not have. */
  readonly refusesForNow: number;
  /** For good, after the dot. */
  readonly refuses: number;
  readonly answerLost: number;
  readonly bounces: number;
  readonly loses: number;
  readonly slow: number;
  readonly slowMs: number;
  /** Age at which it gives a mail back. */
  readonly lifetimeMs: number;
}

const RETRY_MS = [20_000, 5 * 60_000] as const;
const ANSWER_MS = [5, 2000] as const;

export class Postal {
  readonly #queue: EventQueue;
  readonly #dice: Dice;
  readonly #trace: Trace;
  readonly #options: PostalOptions;
  readonly #hosts = new Map<string, MailHost>();
  #hasFaults = true;
  #waiting = 0;
  #mails = 0;

  constructor(queue: EventQueue, dice: Dice, trace: Trace, options: PostalOptions) {
    this.#queue = queue;
    this.#dice = dice;
    this.#trace = trace;
    this.#options = options;
  }

  register(host: MailHost): void {
    this.#hosts.set(host.domain, host);
  }

  /** Mails that were taken and have not arrived. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Mails that were ever taken. */
  get mails(): number {
    return this.#mails;
  }

  heal(): void {
    this.#hasFaults = false;
  }

  /**
   * A host hands a mail over, and hears what the relay says to it. When it dies before that, the
   * relay may have got the whole mail or a part that it throws away.
   */
  handOver(mail: Mail, isAlive: () => boolean, answer: (outcome: Outcome) => void): void {
    this.#queue.after(this.#dice.span(...ANSWER_MS), `relay hears ${mail.from}`, () => {
      if (!isAlive() && this.#dice.chance(0.5)) return;
      const host = this.#hostOf(mail);
      if (host?.isDown === true) {
        const words = "relay: 4.4.1 no connection to that site";
        return answer({ kind: "temporary", about: "neighbour", code: 421, words });
      }
      const said = host?.screen?.(mail);
      if (said !== undefined) {
        this.#trace.sometimes(said.code >= 500 ? "site refuses a key" : "site fails on a key");
        return answer(
          said.code >= 500
            ? { kind: "refused", ...said }
            : { kind: "temporary", about: "update", ...said },
        );
      }
      if (this.#fault("refusesForNow")) {
        return answer({
          kind: "temporary",
          about: "neighbour",
          code: 451,
          words: "relay: not now",
        });
      }
      if (this.#fault("refuses")) {
        return answer({ kind: "refused", code: 554, words: "relay: 5.6.0 not this one" });
      }
      this.post(mail);
      if (this.#fault("answerLost")) {
        return answer({
          kind: "temporary",
          about: "neighbour",
          code: undefined,
          words: "relay: connection lost",
        });
      }
      answer({ kind: "delivered", how: "relayed", reply: "250 queued" });
    });
  }

  /** Takes a mail without a word. */
  post(mail: Mail): void {
    this.#mails += 1;
    if (this.#fault("loses")) return;
    const isSlow = this.#fault("slow");
    const delay = this.#dice.span(...this.#options.delayMs);
    const least = isSlow ? this.#dice.span(1000, this.#options.slowMs) : 0;
    this.#waiting += 1;
    this.#later(mail, this.#queue.now, delay + least);
  }

  #later(mail: Mail, since: number, delay: number): void {
    this.#queue.after(delay, `mail to ${mail.recipient}`, () => this.#attempt(mail, since));
  }

  #hostOf({ recipient }: Mail): MailHost | undefined {
    return this.#hosts.get(recipient.slice(recipient.lastIndexOf("@") + 1).toLowerCase());
  }

  #attempt(mail: Mail, since: number): void {
    const host = this.#hostOf(mail);
    if (host === undefined) return this.#giveBack(mail, 550, "5.1.2 no such domain");
    // Old keyservers do not read what comes back: a bounce to them is a loss.
    if (mail.sender.startsWith("bounces") && this.#fault("bounces")) {
      return this.#giveBack(mail, 550, this.#dice.pick(BOUNCES));
    }
    host.deliver(mail, (answer) => {
      const isLost = answer === "taken" && this.#fault("answerLost");
      if (answer === "taken" && !isLost) this.#waiting -= 1;
      else if (answer !== undefined && typeof answer !== "string") {
        this.#giveBack(mail, answer.code, answer.words);
      } else if (this.#queue.now - since > this.#options.lifetimeMs) {
        this.#giveBack(mail, 550, "5.4.7 delivery time expired");
      } else this.#later(mail, since, this.#dice.span(...RETRY_MS));
    });
  }

  /** A delivery report to the sender of the envelope; for a report there is none. */
  #giveBack(mail: Mail, code: number, words: string): void {
    this.#waiting -= 1;
    if (mail.sender === "") return;
    this.#trace.sometimes("mail came back");
    const raw = Buffer.from(reportOn(mail, code, words), "latin1");
    this.post({ from: "relay", sender: "", recipient: mail.sender, raw });
  }

  #fault(name: "refusesForNow" | "refuses" | "answerLost" | "bounces" | "loses" | "slow"): boolean {
    const happens = this.#hasFaults && this.#dice.chance(this.#options[name]);
    if (happens) this.#trace.sometimes(`relay ${name}`);
    return happens;
  }
}

const BOUNCES = [
  "4.4.7 no route to host",
  "5.2.2 mailbox full",
  "5.1.1 user unknown",
  "5.7.1 message contains a forbidden attachment",
] as const;

/** RFC 3464, with the boundary that `reportParts` looks for. */
function reportOn(mail: Mail, code: number, words: string): string {
  const status = words.slice(0, 5);
  return [
    "From: MAILER-DAEMON@relay.example",
    `To: ${mail.sender}`,
    "Subject: Undelivered Mail Returned to Sender",
    "Auto-Submitted: auto-replied",
    "MIME-Version: 1.0",
    'Content-Type: multipart/report; report-type=delivery-status; boundary="sim-boundary"',
    "",
    "--sim-boundary",
    "Content-Type: text/plain",
    "",
    `Your mail to ${mail.recipient} could not be delivered.`,
    "--sim-boundary",
    "Content-Type: message/delivery-status",
    "",
    "Reporting-MTA: dns; relay.example",
    "",
    `Final-Recipient: rfc822; ${mail.recipient}`,
    "Action: failed",
    `Status: ${status}`,
    `Diagnostic-Code: smtp; ${code} ${words}`,
    "",
    "--sim-boundary--",
    "",
  ].join("\r\n");
}
