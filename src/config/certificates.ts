/**
 * Checks the certificates and keys that a configuration names: they can be read by the user of
 * this process, are PEM, and match. They stay paths in the `Config`, so that a key is never
 * printed with it, and a listener reads them again when they change. Signer and
 * expiry are not checked.
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

/** All unusable files, by the key that names them. */
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
    ...pemFaults({ cert: certificate.pem }, [...path, "cert"], "contains no PEM certificate"),
    ...pemFaults(
      { key: secret.pem },
      [...path, "key"],
      "contains no PEM private key without a password",
    ),
  ];
  if (wrong.length > 0) return wrong;
  const together = { cert: certificate.pem, key: secret.pem };
  return pemFaults(together, [...path, "key"], "does not match the certificate");
}

function caFaults(ca: string | undefined, path: KeyPath): PathFault[] {
  if (ca === undefined) return [];
  const file = read(ca, path);
  if (!("pem" in file)) return [file];
  if (file.pem.includes("-----BEGIN CERTIFICATE-----")) return [];
  return [{ path, message: "contains no PEM certificate: write another file" }];
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
    // The messages of OpenSSL are about ASN.1.
    return [{ path, message: `${message}: write another file` }];
  }
}

function read(file: string, path: KeyPath): { readonly pem: Buffer } | PathFault {
  try {
    return { pem: readFileSync(file) };
  } catch (error) {
    return { path, message: `cannot be read: ${reasonOf(error)}` };
  }
}
