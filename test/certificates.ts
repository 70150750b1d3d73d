/** Certificates made by openssl for the tests; Debian has it wherever Node is built with it. */
import { execFileSync } from "node:child_process";

/**
 * NAME.key and NAME.pem in `directory` for localhost and 127.0.0.1, valid for `days`: signed by
 * `ca`, made before, or by itself, and then a CA.
 */
export function makeCertificate(directory: string, name: string, ca?: string, days = 2): void {
  const names = "subjectAltName=DNS:localhost,IP:127.0.0.1";
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const issuer = ca === undefined ? [] : ["-CA", `${ca}.pem`, "-CAkey", `${ca}.key`];
  const out = ["-keyout", `${name}.key`, "-out", `${name}.pem`];
  const subject = ["-subj", `/CN=${name}`, "-addext", names];
  execFileSync(
    "openssl",
    ["req", "-x509", "-days", `${days}`, ...key, ...subject, ...issuer, ...out],
    {
      cwd: directory,
      stdio: "pipe",
    },
  );
}
