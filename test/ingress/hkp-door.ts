/** A real HKP door on a free port of 127.0.0.1 before a real log, and a client, for the tests. */
import { readdirSync, readFileSync } from "node:fs";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { Judgement } from "../../src/admit.js";
import { type Clock, systemClock } from "../../src/clock.js";
import { HkpDoor } from "../../src/ingress/hkp.js";
import { HKP_LIMITS, type HkpLimits } from "../../src/ingress/limits.js";
import { AcceptRates } from "../../src/intake/accept-rates.js";
import { GroupCommit } from "../../src/intake/group-commit.js";
import { KeyIntake } from "../../src/intake/key-intake.js";
import type { UpdateLog } from "../../src/log/update-log.js";
import { type Bench, bench, stopped } from "./ways.js";

export const KEYS = readdirSync("test/fixtures/keys").map((name) =>
  readFileSync(join("test/fixtures/keys", name), "utf8"),
);
export const [KEY = "", OTHER = ""] = KEYS;
export const FORM = "application/x-www-form-urlencoded";
/** The address of the neighbour "pks"; any other is a stranger's. */
export const NEIGHBOUR = "127.0.0.2";
export const STRANGER = "127.0.0.3";

export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: Record<string, unknown>;
}

interface Asking {
  readonly from?: string;
  readonly path?: string;
  readonly method?: string;
}

export interface Hkp extends Bench {
  readonly port: number;
  post(body: string | Buffer, options?: Asking, headers?: Record<string, string>): Promise<Answer>;
  /** A connection on which nothing was said yet. */
  open(from?: string): Raw;
}

/** What a client says byte by byte, and what it hears. */
export interface Raw {
  readonly socket: Socket;
  readonly heard: () => string;
  /** Resolves with all that was heard when the connection is gone. */
  readonly closed: Promise<string>;
}

export interface HkpSetting {
  readonly wrap?: (log: UpdateLog) => UpdateLog;
  readonly limits?: Partial<HkpLimits>;
  readonly clock?: Clock;
  readonly judge?: Judgement;
  readonly stats?: () => unknown;
}

export async function hkpDoor(settings = "", given: HkpSetting = {}): Promise<Hkp> {
  const { wrap = (log) => log, clock = systemClock, judge, stats } = given;
  const beside = bench(() => `[hkp]\nlisten = ["127.0.0.1:0"]\n${settings}\n`);
  const { config, log, diagnostics } = beside;
  if (config.hkp === undefined) throw new Error("no hkp section");
  const rates = new AcceptRates(config.neighbours, clock);
  const rules = { rates, ...(judge === undefined ? {} : { judge }) };
  const keys = new KeyIntake(
    { log: wrap(log), appends: new GroupCommit(wrap(log)), clock: clock, diagnostics: diagnostics },
    rules,
  );
  const components = { keys, clock, diagnostics, ...(stats === undefined ? {} : { stats }) };
  const limits = { ...HKP_LIMITS, ...given.limits };
  const door = stopped(new HkpDoor(components, { ...config, hkp: config.hkp, limits }));
  const [{ port } = { port: 0 }] = await door.start();
  return {
    ...beside,
    port,
    open: (from = STRANGER) => raw(port, from),
    post: (body, asking, headers) => sendTo(port, body, asking, headers),
  };
}

/** One request with a form, by default of the neighbour, and its answer. */
export function sendTo(
  port: number,
  body: string | Buffer,
  { from = NEIGHBOUR, path = "/pks/add", method = "POST" }: Asking = {},
  headers: Record<string, string> = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = { port, host: "127.0.0.1", localAddress: from, path, method, agent: false };
    const sent = request({ ...options, headers: { "Content-Type": FORM, ...headers } });
    sent.on("response", (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => {
        text += chunk.toString();
      });
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, body: text, headers: response.headers }),
      );
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

export function form(...texts: string[]): string {
  return new URLSearchParams(texts.map((text): [string, string] => ["keytext", text])).toString();
}

function raw(port: number, from: string): Raw {
  const socket = connect({ port, host: "127.0.0.1", localAddress: from });
  let heard = "";
  socket.on("data", (bytes) => {
    heard += bytes.toString("latin1");
  });
  socket.on("error", () => {});
  onTestFinished(() => void socket.destroy());
  const closed = new Promise<string>((resolve) => socket.once("close", () => resolve(heard)));
  return { socket, heard: () => heard, closed };
}
