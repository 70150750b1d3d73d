/** The client of the benches: mails over some connections, each acknowledged before the next. */
import { SmtpClient } from "../support/smtp-client.js";
import { SITE } from "./gateways.js";

/** Connections of the load. */
export const CONNECTIONS = 16;

/**
 * Mails that a process gets before it is measured. V8 compiles the hot functions in several stages:
 * the CPU of a mail falls to the half over the first thousands, and is level after ten thousand.
 */
export const WARM_UP = 12_000;

/** Delivers all of them, and resolves with the mails a second. */
export async function deliverAll(
  port: number,
  mails: readonly string[],
  connections = CONNECTIONS,
): Promise<number> {
  const clients = await Promise.all(
    Array.from({ length: connections }, () => SmtpClient.connect(port)),
  );
  let next = 0;
  const began = performance.now();
  await Promise.all(
    clients.map(async (client) => {
      for (let mail = mails[next++]; mail !== undefined; mail = mails[next++]) {
        const { code, text } = await client.deliver(mail, SITE);
        if (code !== 250) throw new Error(text);
      }
    }),
  );
  const seconds = (performance.now() - began) / 1000;
  for (const client of clients) client.close();
  return mails.length / seconds;
}
