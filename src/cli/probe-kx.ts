/**
 * Checks the KX connection to a peer. The check dials as the gateway does, from
 * `[kx] source`, with TLS and the same verification of the certificate for kxs:// peers. It sends
 * HELO, waits for the peer's HELO, and ends with CLOSE. It announces nothing, so the
 * peer's cursors do not change, and the peer logs one connection that ended normally.
 */
import type { Socket } from "node:net";
import { connect } from "node:net";
import type { TLSSocket } from "node:tls";
import type { Config, Neighbour } from "../config/config.js";
import { goesByKx } from "../config/paths.js";
import { formatEndpoint } from "../config/units.js";
import { plainHost } from "../ip-address.js";
import type { SessionOutput } from "../kx/session.js";
import { Session } from "../kx/session.js";
import { KxTls } from "../peering/tls.js";
import type { Finding } from "./finding.js";
import { PROBE_MS } from "./finding.js";

/** Time limit for the peer's answer to CLOSE. */
const LEAVE_MS = 2000;
/** More than two greetings. */
const HEARD_BYTES = 4096;

/** A neighbour with a KX endpoint. */
type KxNeighbour = Neighbour & { readonly kx: NonNullable<Neighbour["kx"]> };

/** Dials the KX endpoint of a neighbour and greets it. */
export async function probeKx(neighbour: KxNeighbour, config: Config): Promise<Finding> {
  const { name, kx, tls } = neighbour;
  const unused = goesByKx(neighbour) ? "" : ' (not used with via = "mail")';
  const what = `${name} by KX at ${tls ? "kxs://" : ""}${formatEndpoint(kx)}${unused}`;
  const failed = (words: string, remedy: string) => ({ ok: false, what, words, remedy });
  let socket: Socket;
  try {
    socket = await dialled(kx, config.kx?.source);
  } catch (error) {
    return failed(messageOf(error), "Ask its operator whether a gateway runs at this address.");
  }
  if (tls === undefined) return plainFinding(what, await conversation(socket));
  if (config.kx?.tls === undefined) {
    socket.destroy();
    return failed("needs TLS, but [kx] tls is not configured", "Set cert and key in [kx] tls.");
  }
  const host = plainHost(kx.host);
  let secured: TLSSocket;
  try {
    const expected = [{ name, host, pin: tls.pin }];
    secured = (await new KxTls(config.kx.tls).secure(socket, expected, host)).secured;
  } catch (error) {
    return failed(...handshakeWords(messageOf(error)));
  }
  const own = secured.getCertificate();
  const shown = own !== null && "fingerprint256" in own ? own.fingerprint256 : "";
  const heard = await conversation(secured);
  const proof =
    tls.pin === undefined ? "a certificate signed by the CA of [kx] tls" : "the pinned certificate";
  if (heard.version !== undefined) {
    return {
      ok: true,
      what,
      words: `presents ${proof} and speaks KX/${heard.version}`,
      remedy: "",
    };
  }
  if (heard.text !== "") return notKx(what, heard.text);
  return failed(
    `presents ${proof} and then closes the connection without HELO`,
    `It does not know us as a peer. Its operator must add our address and the pin ${shown}.`,
  );
}

function plainFinding(what: string, { version, text, error }: Heard): Finding {
  const failed = (words: string, remedy: string) => ({ ok: false, what, words, remedy });
  if (version !== undefined) return { ok: true, what, words: `speaks KX/${version}`, remedy: "" };
  if (text !== "") return notKx(what, text);
  if (error !== undefined && !/ECONNRESET|EPIPE/.test(error)) {
    return failed(error, "Ask its operator whether the gateway runs and the port is open.");
  }
  const remedy =
    "It does not know this host as a peer, or requires kxs://. Its operator must add the address " +
    "from which this gateway connects.";
  return failed("accepts the connection and closes it without HELO", remedy);
}

function notKx(what: string, text: string): Finding {
  const words = `sends "${text.slice(0, 80)}", which is not KX`;
  return { ok: false, what, words, remedy: "Check its kx endpoint in the config." };
}

/** A failed TLS handshake as a message and its remedy. */
function handshakeWords(message: string): [string, string] {
  if (/not the pinned one/.test(message)) {
    return [message, "Ask its operator for the fingerprint. If it is this one, set it as pin."];
  }
  if (/wrong version number|packet length|record type/i.test(message)) {
    return ["answers without TLS", "Ask its operator whether this port speaks kxs://."];
  }
  if (/ENOENT|EACCES|PEM|no start line/.test(message)) {
    return [`our certificate: ${message}`, "Check the files of [kx] tls and their permissions."];
  }
  if (/ended the TLS handshake|ECONNRESET|EPIPE|timed out/.test(message)) {
    const remedy = "It does not know this host as a kxs:// peer. Its operator must add it.";
    return [message, remedy];
  }
  return [
    message,
    "Its certificate must name this host and be signed by the CA in [kx] tls, or be pinned.",
  ];
}

/** A connection from the local address that the gateway uses. Rejects with the system's error. */
export async function dialled(
  endpoint: NonNullable<Neighbour["kx"]>,
  source?: string,
): Promise<Socket> {
  const localAddress = source === undefined ? {} : { localAddress: source };
  return await new Promise((resolve, reject) => {
    const socket = connect({ ...endpoint, ...localAddress, allowHalfOpen: true });
    const late = () => socket.destroy(new Error(`no answer within ${PROBE_MS / 1000} s`));
    const timer = setTimeout(late, PROBE_MS);
    socket.once("close", () => clearTimeout(timer));
    socket.once("error", reject);
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.off("error", reject);
      resolve(socket);
    });
  });
}

interface Heard {
  /** Of the peer's HELO. */
  readonly version: string | undefined;
  /** What the peer sent, at most 4 KiB. */
  readonly text: string;
  readonly error: string | undefined;
}

/** Exchanges HELO and CLOSE. */
async function conversation(socket: Socket): Promise<Heard> {
  return await new Promise((resolve) => {
    const session = new Session(performance.now());
    let text = "";
    let error: string | undefined;
    let version: string | undefined;
    let patience = setTimeout(() => late(), PROBE_MS);
    const late = () => {
      if (version === undefined) error ??= `no answer within ${PROBE_MS / 1000} s`;
      socket.destroy();
    };
    const leave = () => {
      clearTimeout(patience);
      patience = setTimeout(late, LEAVE_MS);
      socket.end();
    };
    const perform = (outputs: readonly SessionOutput[]) => {
      for (const output of outputs) {
        if (output.type === "send") socket.write(output.bytes);
        else if (output.type === "greet") {
          version = /^HELO\r?\n(.*?)\r?\n/m.exec(text)?.[1] ?? "1";
          clearTimeout(patience);
          patience = setTimeout(late, LEAVE_MS);
          perform(session.close(performance.now()));
        } else if (output.type === "end") leave();
      }
    };
    socket.on("error", (failure) => {
      error = failure.message;
    });
    socket.on("close", () => {
      clearTimeout(patience);
      resolve({ version, text, error });
    });
    socket.on("end", leave);
    socket.on("data", (bytes: Buffer) => {
      if (text.length < HEARD_BYTES) text += bytes.toString("latin1").slice(0, HEARD_BYTES);
      const outputs = session.received(bytes, performance.now());
      // No complaint is sent to a server that does not speak KX.
      if (version === undefined && outputs.some(({ type }) => type === "complaint")) leave();
      else perform(outputs);
    });
    perform(session.start());
  });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
