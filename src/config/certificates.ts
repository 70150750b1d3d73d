/**
 * Whether the certificates and keys that a configuration names can be used: read by the user of
 * this process, PEM, and of one piece. They stay paths in the `Config`, so that a key is never
 * printed with it, and a door reads them anew when they change. Does not ask who signed a
 * certificate or until when it is good.
 */
import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import type { Config } from "./config.js";
import type { KeyPath } from "./locate.js";
import { reasonOf } from "./reason.js";
import type { PathFault } from "./rules.js";

interface Named {
  readonly cert: string;
  readonly key: string;
}

/** Every file that cannot be used, by the key that names it. */
export function certificateFaults({ smtp, kx, outbound }: Config): PathFault[] {
  return [
    ...(smtp?.tls === undefined ? [] : pairFaults(smtp.tls, ["smtp", "tls"])),
    ...(kx?.tls === undefined ? [] : pairFaults(kx.tls, ["kx", "tls"])),
    ...caFaults(kx?.tls?.ca, ["kx", "tls", "ca"]),
    ...caFaults(outbound?.ca, ["outbound", "ca"]),
  ];
}

function pairFaults({ cert, key }: Named, path: KeyPath): PathFault[] {
  const certificate = read(cert, [...path, "cert"]);
  const secret = read(key, [...path, "key"]);
  const faults = [certificate, secret].filter((file) => "message" in file);
  if (!("pem" in certificate) || !("pem" in secret)) return faults;
  const wrong = [
    ...pemFaults({ cert: certificate.pem }, [...path, "cert"], "holds no certificate in PEM"),
    ...pemFaults(
      { key: secret.pem },
      [...path, "key"],
      "holds no private key in PEM without a password",
    ),
  ];
  if (wrong.length > 0) return wrong;
  const together = { cert: certificate.pem, key: secret.pem };
  return pemFaults(together, [...path, "key"], "is not the key of the certificate");
}

function caFaults(ca: string | undefined, path: KeyPath): PathFault[] {
  if (ca === undefined) return [];
  const file = read(ca, path);
  if (!("pem" in file)) return [file];
  if (file.pem.includes("-----BEGIN CERTIFICATE-----")) return [];
  return [{ path, message: "holds no certificate in PEM: name another file" }];
}

function pemFaults(
  options: { readonly cert?: Buffer; readonly key?: Buffer },
  path: KeyPath,
  message: string,
): PathFault[] {
  try {
    createSecureContext(options);
    return [];
  } catch {
    // OpenSSL's own words are about ASN.1.
    return [{ path, message: `${message}: name another file` }];
  }
}

function read(file: string, path: KeyPath): { readonly pem: Buffer } | PathFault {
  try {
    return { pem: readFileSync(file) };
  } catch (error) {
    return { path, message: `cannot be read: ${reasonOf(error)}` };
  }
}
