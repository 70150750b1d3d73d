/**
 * Sends commands to pksd neighbours by mail. `mail/command.ts` composes the commands, and each
 * neighbour has a transport to the relay. The repair door decides which commands are sent and when.
 * The replies are received by mail.
 */

import type { Clock } from "../clock.js";
import type { Config } from "../config/config.js";
import type { UpdateLog } from "../log/update-log.js";
import { composeCommand, type MailCommand, questionMark } from "../mail/command.js";
import { domainOf } from "../mail-address.js";
import { certificatesIn, type Outcome, SmtpRelay, TRANSPORT_LIMITS } from "./relay.js";

export interface QuestionMailerComponents {
  readonly log: { readonly bounces: Pick<UpdateLog["bounces"], "secret"> };
  readonly clock: Clock;
}

export interface QuestionMailerSettings extends Pick<Config, "neighbours" | "site" | "smtp"> {
  readonly outbound: NonNullable<Config["outbound"]>;
}

export class QuestionMailer {
  readonly #site: Config["site"];
  readonly #sender: string;
  readonly #log: QuestionMailerComponents["log"];
  readonly #clock: Clock;
  readonly #addresses = new Map<string, string>();
  readonly #transports = new Map<string, SmtpRelay>();

  /** Throws the system error if the file of `outbound.ca` cannot be read. */
  constructor({ log, clock }: QuestionMailerComponents, settings: QuestionMailerSettings) {
    const { outbound, ...config } = settings;
    this.#site = config.site;
    this.#sender = outbound.bounce ?? config.site.contact;
    this.#log = log;
    this.#clock = clock;
    const { address } = config.site;
    const hostname = config.smtp?.hostname ?? domainOf(address);
    const ca = certificatesIn(outbound.ca);
    for (const { name, mail, repair, requireTls } of config.neighbours) {
      if (mail === undefined || repair?.type !== "mail") continue;
      const security = { required: requireTls, ca };
      const { relay } = outbound;
      this.#addresses.set(name, mail);
      this.#transports.set(name, new SmtpRelay(relay, hostname, TRANSPORT_LIMITS, security));
    }
  }

  /**
   * Mails a command to a neighbour with `repair = "mail"`. Only one call at a time for each
   * neighbour.
   */
  async ask(neighbour: string, command: MailCommand): Promise<Outcome> {
    const to = this.#addresses.get(neighbour);
    const transport = this.#transports.get(neighbour);
    if (to === undefined || transport === undefined) throw new Error(`${neighbour} takes no mail`);
    const { contact: from, address: replyTo } = this.#site;
    const mark = questionMark(neighbour, command, this.#log.bounces.secret);
    const date = this.#clock.now();
    const mail = composeCommand({ command, to, from, replyTo, mark, date });
    return await transport.deliver(mail, this.#sender, to);
  }

  /** Aborts the deliveries in progress, as temporary failures. */
  close(): void {
    for (const transport of this.#transports.values()) transport.close();
  }
}
