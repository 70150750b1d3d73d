/**
 * The relay's password from a file of its own, so that the configuration may be read by more than
 * one user: a credential that systemd hands over, or a secret of Docker. It goes into the relay's
 * URL, where a password that stands in the configuration is as well. A line end at its end is not
 * part of it; the file is read again at each reload. Never quotes what is in it.
 */
import { readFileSync } from "node:fs";
import type { Config } from "./config.js";
import type { KeyPath } from "./locate.js";
import { reasonOf } from "./reason.js";
import type { PathFault } from "./rules.js";

/** Longer than any password, shorter than a key or certificate that was named by mistake. */
const MAX_PASSWORD_CHARS = 512;
const PATH: KeyPath = ["outbound", "relay_password_file"];

/** The configuration with the password in its relay, or what is wrong with the file. */
export function withRelayPassword(config: Config): Config | PathFault {
  const { outbound } = config;
  const file = outbound?.relayPasswordFile;
  if (outbound === undefined || file === undefined) return config;
  const fault = (message: string): PathFault => ({ path: PATH, message });
  const url = new URL(outbound.relay);
  if (url.username === "") {
    return fault('is for nobody: write a user into relay, as "smtp://user@host:587"');
  }
  if (url.password !== "") return fault("is one password too many: take the one in relay out");
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    return fault(`cannot be read: ${reasonOf(error)}`);
  }
  const password = text.replace(/\r?\n$/, "");
  const isLine = password !== "" && !/\p{Cc}/u.test(password);
  if (!isLine || password.length > MAX_PASSWORD_CHARS) {
    return fault("does not hold a password on one line: write it there, and nothing else");
  }
  url.password = encodeURIComponent(password);
  return { ...config, outbound: { ...outbound, relay: url.href } };
}
