/**
 * The password of the relay in a separate file, so that the configuration may be readable by more
 * than one user: a credential of systemd, or a secret of Docker. It is written into the relay's
 * URL, as a password in the configuration is. A line end at the end of the file is not
 * part of it; the file is read again at each reload. Messages never quote its content.
 */
import { readFileSync } from "node:fs";
import type { Config } from "./config.js";
import type { KeyPath } from "./locate.js";
import { reasonOf } from "./reason.js";
import type { PathFault } from "./rules.js";

/** Longer than any password, shorter than a key or certificate that is configured by mistake. */
const MAX_PASSWORD_CHARS = 512;
const PATH: KeyPath = ["outbound", "relay_password_file"];

/** The configuration with the password in its relay, or the error of the file. */
export function withRelayPassword(config: Config): Config | PathFault {
  const { outbound } = config;
  const file = outbound?.relayPasswordFile;
  if (outbound === undefined || file === undefined) return config;
  const fault = (message: string): PathFault => ({ path: PATH, message });
  const url = new URL(outbound.relay);
  if (url.username === "") {
    return fault('needs a user: write it into relay, as "smtp://user@host:587"');
  }
  if (url.password !== "") return fault("is a second password: remove the one in relay");
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    return fault(`cannot be read: ${reasonOf(error)}`);
  }
  const password = text.replace(/\r?\n$/, "");
  const isLine = password !== "" && !/\p{Cc}/u.test(password);
  if (!isLine || password.length > MAX_PASSWORD_CHARS) {
    return fault("does not contain exactly one line with the password");
  }
  url.password = encodeURIComponent(password);
  return { ...config, outbound: { ...outbound, relay: url.href } };
}
