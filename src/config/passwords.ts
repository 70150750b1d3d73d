/**
 * Passwords in separate files, so that the configuration may be readable by more than one user:
 * credentials of systemd, or secrets of Docker. A password is put where one in the configuration
 * would be. A line end at the end of the file is not part of it; the file is read again at each
 * reload. Messages never quote its content.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "./config.js";
import type { Environment } from "./environment.js";
import type { KeyPath } from "./locate.js";
import { reasonOf } from "./reason.js";
import type { PathFault } from "./rules.js";

/** Longer than any password, shorter than a key or certificate that is configured by mistake. */
const MAX_PASSWORD_CHARS = 512;
const RELAY_PATH: KeyPath = ["outbound", "relay_password_file"];
const SHARED_PATH: KeyPath = ["log", "shared_password_file"];

/** The name of the credential that systemd passes for `log.shared`. */
const SHARED_CREDENTIAL = "kxgw-shared";

/** The configuration with the password in its relay, or the error of the file. */
export function withRelayPassword(config: Config): Config | PathFault {
  const { outbound } = config;
  const file = outbound?.relayPasswordFile;
  if (outbound === undefined || file === undefined) return config;
  const fault = (message: string): PathFault => ({ path: RELAY_PATH, message });
  const url = new URL(outbound.relay);
  if (url.username === "") {
    return fault('needs a user: write it into relay, as "smtp://user@host:587"');
  }
  if (url.password !== "") return fault("is a second password: remove the one in relay");
  const password = passwordIn(file);
  if ("fault" in password) return fault(password.fault);
  url.password = encodeURIComponent(password.value);
  return { ...config, outbound: { ...outbound, relay: url.href } };
}

/**
 * The configuration with the password of the shared database: from its file, or without one from
 * the credential `kxgw-shared` of systemd, if there is one. Or the error of the file.
 */
export function withSharedPassword(config: Config, env: Environment): Config | PathFault {
  const { shared, sharedPasswordFile } = config.log;
  const fault = (message: string): PathFault => ({ path: SHARED_PATH, message });
  if (shared === undefined) {
    if (sharedPasswordFile === undefined) return config;
    return fault('is not used without shared: write shared = "postgres://user@host/database"');
  }
  if (sharedPasswordFile !== undefined && shared.password !== undefined) {
    return fault("is a second password: remove the one in shared");
  }
  const file = sharedPasswordFile ?? credential(env);
  if (shared.password !== undefined || file === undefined) return config;
  const password = passwordIn(file);
  if ("fault" in password) return fault(password.fault);
  return { ...config, log: { ...config.log, shared: { ...shared, password: password.value } } };
}

/** The path of the credential, if systemd passed one. */
function credential({ CREDENTIALS_DIRECTORY: directory }: Environment): string | undefined {
  const file = directory === undefined ? undefined : join(directory, SHARED_CREDENTIAL);
  return file !== undefined && existsSync(file) ? file : undefined;
}

function passwordIn(file: string): { readonly value: string } | { readonly fault: string } {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    return { fault: `cannot be read: ${reasonOf(error)}` };
  }
  const value = text.replace(/\r?\n$/, "");
  const isLine = value !== "" && !/\p{Cc}/u.test(value);
  if (isLine && value.length <= MAX_PASSWORD_CHARS) return { value };
  return { fault: "does not contain exactly one line with the password" };
}
