/**
 * A pksd as a neighbour that answers commands by mail: `GET 0xFINGERPRINT` and `LAST n`, in the
 * words and the shape of pksd 0.9.6 (its `mail_req.c` and `mail_send.c`): the answer goes to
 * Reply-To, quotes the Message-ID, and has the keys in one block behind an introduction. It reads
 * what the gateway hands to the relay and mails its answers to the gateway.
 */
import { createTransport } from "nodemailer";
import { headerValues, readHead } from "../../src/mail/head.js";
import { encodeArmor } from "../../src/openpgp/armor.js";
import type { Relay, Taken } from "../delivery/relay.js";
import { bytes } from "../mail/fixtures.js";

const BOUNDARY = "---PKSD-----";
const INTRO = "\nThis message is part of an e-mail exchange with an OpenPGP key server.\n\n";

export interface PksdKey {
  readonly fingerprint: string;
  /** Packets. */
  readonly body: Uint8Array;
}

export class Pksd {
  /** Its keys, those that changed last behind. */
  readonly keys: PksdKey[] = [];
  /** Commands in the order in which they came. */
  readonly commands: string[] = [];
  maxLast = 14;
  maxLastReplyKeys = 100;
  /** Whether it reads its mail. */
  isAwake = true;
  /** What it sends in place of the right keys. */
  lie: readonly PksdKey[] | undefined;
  readonly #port: () => number;
  #read = 0;

  /** `port` is where the gateway takes mail. */
  constructor(port: () => number) {
    this.#port = port;
  }

  /** Answers the commands that the relay took since the last call. */
  async work({ taken }: Relay): Promise<void> {
    while (this.isAwake && this.#read < taken.length) {
      const mail = taken[this.#read];
      this.#read += 1;
      if (mail !== undefined) await this.#answer(mail);
    }
  }

  async #answer({ raw }: Taken): Promise<void> {
    const { fields } = readHead(bytes(raw));
    const value = (name: string) => headerValues(fields, name)[0] ?? "";
    const subject = value("Subject");
    const [, digits, days] = /^(?:GET 0x([0-9A-F]{40})|LAST (\d+))$/.exec(subject) ?? [];
    if (digits === undefined && days === undefined) return;
    this.commands.push(subject);
    const [keys, why] = digits === undefined ? this.#last(Number(days)) : this.#get(digits);
    await this.mail(value("Reply-To"), {
      subject: `Your command, ${subject}${why === "" ? "" : ", failed"}`,
      inReplyTo: value("Message-ID"),
      part: why === "" ? armored(keys) : `Content-type: text/plain\n\n${why}`,
    });
  }

  /** Mails an answer to the gateway, asked for or not. */
  async mail(
    to: string,
    answer: { readonly subject: string; readonly inReplyTo: string; readonly part: string },
  ): Promise<void> {
    const from = "pksd@pks.example.net";
    const reply = answer.inReplyTo === "" ? "" : `In-Reply-To: ${answer.inReplyTo}\n`;
    const raw =
      `To: ${to}\nFrom: PGP Key Server Administrator <${from}>\nSubject: ${answer.subject}\n` +
      `${reply}Precedence: list\nMIME-Version: 1.0\n` +
      `Content-Type: multipart/mixed; boundary="${BOUNDARY}"\n\n` +
      `--${BOUNDARY}\n${INTRO}--${BOUNDARY}\n${answer.part}\n\n--${BOUNDARY}--\n`;
    const transport = createTransport({ host: "127.0.0.1", port: this.#port(), ignoreTLS: true });
    // With sendmail -t -oi -fmailer-daemon, as pksd has it, Postfix makes it the null sender.
    await transport.sendMail({ raw, envelope: { from: "", to } });
    transport.close();
  }

  #get(fingerprint: string): [readonly PksdKey[], string] {
    // It knows keys by their last eight digits.
    const found = this.keys.filter((key) => key.fingerprint.endsWith(fingerprint.slice(-8)));
    if (found.length === 0) return [[], "No matching keys in database"];
    return [this.lie ?? found, ""];
  }

  #last(days: number): [readonly PksdKey[], string] {
    if (days > this.maxLast) {
      const rule =
        this.maxLast === 0
          ? "LAST is not permitted by this server"
          : `LAST argument must be less than or rqual to ${this.maxLast}`;
      return [[], `${rule}\n`];
    }
    // As if one key had changed a day.
    const changed = this.keys.slice(-days);
    if (changed.length <= this.maxLastReplyKeys) return [changed, ""];
    const most = `(${this.maxLastReplyKeys})`;
    const why = `Number of keys in reply would exceeded maximum allowed ${most}`;
    return [[], `${why}\nTry a smaller time.\n`];
  }
}

/** One block with all of them, as it writes them. */
function armored(keys: readonly PksdKey[]): string {
  const packets = Buffer.concat(keys.map(({ body }) => body));
  return `Content-type: application/pgp-keys\n\n${encodeArmor(packets)}`;
}
