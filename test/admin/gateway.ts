/**
 * A gateway in this process for the tests of its operator's side: a real log in a directory of its
 * own, the configuration as a text, its reports kept, and mail handed in over its real SMTP port.
 */

import { readdirSync, readFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createTransport } from "nodemailer";
import { onTestFinished } from "vitest";
import { controlPath } from "../../src/admin/admin-door.js";
import type { Clock } from "../../src/clock.js";
import { systemClock } from "../../src/clock.js";
import { parseConfig } from "../../src/config/load.js";
import type { Diagnostics, EventName, Fields } from "../../src/diagnostics.js";
import { Gateway } from "../../src/gateway.js";
import { composeIncremental } from "../../src/mail/compose.js";
import { checkReport } from "../support/reported.js";
import { scratch } from "../support/scratch.js";

const KEYS = fileURLToPath(new URL("../fixtures/keys", import.meta.url));

export const SITE = "pgp-public-keys@kx.example.org";

/** Every door on a free port of loopback; a text of peers comes behind it. */
export const HEAD = `[site]
address = "${SITE}"
[log]
[smtp]
listen = ["127.0.0.1:0"]
[admin]
listen = "127.0.0.1:0"
`;

export const FEEDER = `[[peer]]
name = "old"
mail = "pgp-public-keys@pks.example.net"
accept_from = ["127.0.0.1"]
`;

/** The armored keys of the fixtures, in the order of their names. */
export function armoredKeys(): string[] {
  return readdirSync(KEYS)
    .sort()
    .map((name) => readFileSync(join(KEYS, name), "latin1"));
}

export interface Running {
  readonly gateway: Gateway;
  readonly directory: string;
  readonly logPath: string;
  /** The page's address, without the slash. */
  readonly base: string;
  readonly reports: { readonly event: EventName; readonly fields: Fields }[];
  /** Hands in a mail with `armor` as the neighbour "old"; resolves with the SMTP reply. */
  mail(armor: string, trail?: readonly string[]): Promise<string>;
  stop(): Promise<void>;
}

/** Starts a gateway on `config`, which is stopped when the running test is finished. */
export async function startGateway(
  config: string,
  options: { readonly directory?: string; readonly clock?: Clock } = {},
): Promise<Running> {
  const directory = options.directory ?? scratch();
  const reports: Running["reports"] = [];
  const diagnostics: Diagnostics = {
    report: (event, fields: Fields) => {
      checkReport(event, fields);
      reports.push({ event, fields });
    },
  };
  const parsed = parseConfig(config, "kxgw.toml", directory, {});
  const gateway = await Gateway.start({ clock: options.clock ?? systemClock, diagnostics }, parsed);
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= gateway.stop();
    return stopped;
  };
  onTestFinished(stop);
  const { admin, smtp } = gateway.listening;
  let mails = 0;
  return {
    gateway,
    directory,
    logPath: parsed.log.path,
    base: `http://127.0.0.1:${admin?.port}`,
    reports,
    stop,
    async mail(armor, trail = []) {
      mails += 1;
      const transport = createTransport({ host: "127.0.0.1", port: smtp[0]?.port ?? 0 });
      const from = "pgp-public-keys@pks.example.net";
      const raw = composeIncremental({
        ...{ to: SITE, from, site: from, trail, date: Date.now(), armor },
        messageId: `<${mails}.test@pks.example.net>`,
      });
      const info = await transport.sendMail({
        raw: Buffer.from(raw),
        envelope: { from, to: SITE },
      });
      transport.close();
      return info.response;
    },
  };
}

/** One request over the control socket of a log. */
export async function control(logPath: string, path: string, method = "GET") {
  return await new Promise<{ readonly code: number; readonly body: string }>((resolve, reject) => {
    const socketPath = controlPath(logPath);
    const asked = request({ socketPath, path, method, agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => {
        body += part;
      });
      response.on("end", () => resolve({ code: response.statusCode ?? 0, body }));
    });
    asked.once("error", reject);
    asked.end();
  });
}
