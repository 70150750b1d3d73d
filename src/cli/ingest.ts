/**
 * `kxgw ingest`: passes one mail from an alias pipe (or a file) to the running gateway, over the
 * LMTP socket of its config. Exits 0 when the gateway has stored it, 75 for every failure that is
 * not caused by the mail, a config error included, so that the mail server retries it, and 65 or
 * 77 when the gateway refuses it permanently, so that it bounces with the reply of the gateway.
 *
 * Reads the envelope from where mail servers put it: SENDER and CLIENT_ADDRESS (Postfix), or the
 * mailbox line and Return-Path; the null sender is accepted as a sender. It never writes to the
 * log, which has one writer.
 */
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { loadConfig } from "../config/load.js";
import { ConfigFaults, EXIT, Refusal } from "../errors.js";
import { headerValues, readHead } from "../mail/head.js";
import { addressesIn } from "../mail/sent-trail.js";
import { isAddress } from "../mail-address.js";
import type { Output } from "./output.js";
import { faultLine } from "./output.js";

/** The gateway replies after its fsync; Postfix gives a pipe 1000 seconds. */
const PATIENCE_MS = 5 * 60_000;

/** Passes on `file`, or standard input if it is "-" or missing; returns the exit code. */
export async function ingestCommand(
  configFile: string,
  file: string | undefined,
  out: Output,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  try {
    const { site, smtp } = loadConfig(configFile, env);
    const [path] = smtp?.sockets ?? [];
    if (path === undefined) {
      throw new Error('no LMTP socket is configured: write listen = ["lmtp:/path"] in [smtp]');
    }
    const message = readFileSync(file === undefined || file === "-" ? 0 : file);
    const reply = await handOver(path, message, site.address, env);
    if (reply.code < 300) return EXIT.ok;
    out.stderr(`kxgw ingest: ${reply.text}\n`);
    if (reply.code < 500) return EXIT.tempFail;
    return reply.text.startsWith("5.7.") ? EXIT.noPermission : EXIT.dataError;
  } catch (error) {
    for (const line of words(error)) out.stderr(`kxgw ingest: ${line}\n`);
    // The mail bounces only if the mail itself is at fault.
    return error instanceof Refusal ? EXIT.dataError : EXIT.tempFail;
  }
}

function words(error: unknown): string[] {
  if (error instanceof ConfigFaults) return error.faults.map((one) => faultLine(error.file, one));
  const { code, message } = error as NodeJS.ErrnoException;
  const isDown = code === "ECONNREFUSED" || code === "ENOENT";
  return [isDown ? `the gateway is not running: ${message}` : (message ?? String(error))];
}

interface Reply {
  readonly code: number;
  readonly text: string;
}

/** The LMTP dialogue; resolves with the final reply. */
async function handOver(
  path: string,
  message: Buffer,
  recipient: string,
  env: NodeJS.ProcessEnv,
): Promise<Reply> {
  const socket = connect(path);
  socket.setTimeout(PATIENCE_MS, () => socket.destroy(new Error("the gateway does not answer")));
  try {
    const replies = repliesOf(socket);
    const answer = async (line: string | Buffer = "") => {
      socket.write(line);
      const { value: reply, done } = await replies.next();
      if (done === true) throw new Error("the gateway closed the connection");
      return reply;
    };
    const greeting = await answer();
    if (greeting.code !== 220) return greeting;
    const client = env.CLIENT_ADDRESS;
    const commands = [
      "LHLO localhost",
      ...(client === undefined ? [] : [`XFORWARD ADDR=${addressOf(client)}`]),
      `MAIL FROM:<${senderOf(message, env)}>`,
      `RCPT TO:<${recipient}>`,
      "DATA",
    ];
    for (const command of commands) {
      const reply = await answer(`${command}\r\n`);
      if (reply.code >= 400) return reply;
    }
    return await answer(onTheWire(message));
  } finally {
    socket.destroy();
  }
}

async function* repliesOf(socket: Socket): AsyncGenerator<Reply, undefined> {
  let text = "";
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    text += chunk.toString("latin1");
    for (;;) {
      const match = /^(?:\d{3}-.*\r?\n)*(\d{3}) (.*)\r?\n/.exec(text);
      if (match === null) break;
      text = text.slice(match[0].length);
      yield { code: Number(match[1]), text: match[2] ?? "" };
    }
  }
  return undefined;
}

/** An address in the form of XFORWARD, "[UNAVAILABLE]" for anything else. */
function addressOf(text: string): string {
  const address = text.replace(/^\[|\]$/g, "");
  return /^[0-9a-fA-F:.]+$/.test(address) ? address.replace(/^(?=.*:)/, "IPv6:") : "[UNAVAILABLE]";
}

function senderOf(message: Buffer, env: NodeJS.ProcessEnv): string {
  if (env.SENDER !== undefined) return isAddress(env.SENDER) ? env.SENDER : "";
  const line = /^>?From (\S+) /.exec(message.subarray(0, 1000).toString("latin1"))?.[1];
  if (line !== undefined && isAddress(line)) return line;
  const { fields } = readHead(message);
  // "Return-Path: <>" is the null sender.
  const [returnPath] = headerValues(fields, "Return-Path");
  const field = returnPath === undefined ? headerValues(fields, "From") : [returnPath];
  return field.flatMap(addressesIn)[0] ?? "";
}

/** The mail with CRLF line ends, dot stuffing and the terminating dot. */
function onTheWire(message: Buffer): Buffer {
  const text = message.toString("latin1").replaceAll(/\r?\n/g, "\r\n");
  const ended = text.endsWith("\r\n") ? text : `${text}\r\n`;
  return Buffer.from(`${ended.replaceAll(/^\./gm, "..")}.\r\n`, "latin1");
}
