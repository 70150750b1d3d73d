/** An update mailed as a keyserver does it: one mail, on a connection of its own. */
import { composeIncremental } from "../../src/mail/compose.js";
import type { Update } from "../../src/update.js";
import { armorOf } from "../bench/material.js";
import { SmtpClient } from "../support/smtp-client.js";

export interface Post {
  readonly port: number;
  readonly to: string;
  /** Address of the site that sends it. */
  readonly from: string;
  /** Left part of the Message-ID. */
  readonly id: string;
}

/** Resolves when it was taken; rejects with the answer when it was not. */
export async function post({ port, to, from, id }: Post, update: Update): Promise<void> {
  const raw = composeIncremental({
    ...{ to, from, site: from, trail: [], date: Date.now() },
    messageId: `<${id}@${from.slice(from.indexOf("@") + 1)}>`,
    armor: armorOf(update),
  });
  const client = await SmtpClient.connect(port);
  const { code, text } = await client.deliver(Buffer.from(raw).toString("latin1"), to);
  if (code !== 250) throw new Error(`${to}: ${text}`);
  await client.command("QUIT");
  client.close();
}
