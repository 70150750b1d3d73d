/**
 * Certificates for the tests: X.509 with an ECDSA key on P-256, encoded and signed here, so that
 * the tests need no program for it. Holds no more of RFC 5280 than a TLS client checks: subject,
 * validity, subjectAltName and basicConstraints.
 */
import { generateKeyPairSync, randomBytes, sign, X509Certificate } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

const TAG = {
  ...{ boolean: 0x01, integer: 0x02, bits: 0x03, octets: 0x04, oid: 0x06, utf8: 0x0c },
  ...{ utcTime: 0x17, sequence: 0x30, set: 0x31, version: 0xa0, extensions: 0xa3 },
} as const;

/** Object identifiers in DER, without tag and length. */
const OID = {
  commonName: "550403",
  subjectAltName: "551d11",
  basicConstraints: "551d13",
  ecdsaWithSha256: "2a8648ce3d040302",
} as const;

/**
 * Writes NAME.key and NAME.pem into `directory`, for localhost and 127.0.0.1, valid for `days`:
 * signed by the certificate at the path `ca` (without its ending), or by itself. Each may sign
 * others. Returns its SHA-256 with colons.
 */
export function makeCertificate(directory: string, name: string, ca?: string, days = 2): string {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const key = privateKey.export({ type: "pkcs8", format: "pem" });
  const signer =
    ca === undefined
      ? { name, key }
      : { name: commonNameOf(resolve(directory, ca)), key: read(resolve(directory, `${ca}.key`)) };
  const algorithm = der(TAG.sequence, oid("ecdsaWithSha256"));
  const now = Date.now();
  const body = der(
    TAG.sequence,
    der(TAG.version, der(TAG.integer, Buffer.from([2]))),
    der(TAG.integer, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    algorithm,
    distinguishedName(signer.name),
    der(TAG.sequence, utcTime(now), utcTime(now + days * 86_400_000)),
    distinguishedName(name),
    publicKey.export({ type: "spki", format: "der" }),
    der(
      TAG.extensions,
      der(TAG.sequence, extension("subjectAltName", hostNames()), extension(...AUTHORITY)),
    ),
  );
  const signature = Buffer.concat([Buffer.from([0]), sign("sha256", body, signer.key)]);
  const certificate = der(TAG.sequence, body, algorithm, der(TAG.bits, signature));
  const base64 = certificate.toString("base64").replace(/.{1,64}/g, "$&\n");
  const pem = `-----BEGIN CERTIFICATE-----\n${base64}-----END CERTIFICATE-----\n`;
  writeFileSync(join(directory, `${name}.key`), key);
  writeFileSync(join(directory, `${name}.pem`), pem);
  return new X509Certificate(pem).fingerprint256;
}

const AUTHORITY = [
  "basicConstraints",
  der(TAG.sequence, der(TAG.boolean, Buffer.from([0xff]))),
] as const;

/** localhost and 127.0.0.1 as GeneralNames: dNSName and iPAddress. */
function hostNames(): Buffer {
  const address = Buffer.from([127, 0, 0, 1]);
  return der(TAG.sequence, der(0x82, Buffer.from("localhost")), der(0x87, address));
}

function extension(name: keyof typeof OID, value: Buffer): Buffer {
  return der(TAG.sequence, oid(name), der(TAG.octets, value));
}

function distinguishedName(name: string): Buffer {
  const attribute = der(TAG.sequence, oid("commonName"), der(TAG.utf8, Buffer.from(name)));
  return der(TAG.sequence, der(TAG.set, attribute));
}

function commonNameOf(path: string): string {
  const { subject } = new X509Certificate(read(`${path}.pem`));
  return subject.replace(/^CN=/, "");
}

/** YYMMDDHHMMSSZ, which is good until 2049. */
function utcTime(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/\D/g, "").slice(2, 14);
  return der(TAG.utcTime, Buffer.from(`${digits}Z`));
}

function oid(name: keyof typeof OID): Buffer {
  return der(TAG.oid, Buffer.from(OID[name], "hex"));
}

function read(path: string): string {
  return readFileSync(path, "latin1");
}

/** A DER value: tag, length, content. */
function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const length = content.length;
  const head = length < 128 ? [length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...head]), content]);
}
