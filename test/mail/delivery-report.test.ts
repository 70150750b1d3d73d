/** Reading what came back: fields in every state, and what is made of them. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { typedParts } from "../../src/intake/mime.js";
import { judgeBounce, readDeliveryStatus } from "../../src/mail/delivery-report.js";
import { readHead } from "../../src/mail/head.js";
import { cpuTimer } from "../support/cpu.js";
import { bytes } from "./fixtures.js";
import { SAMPLES } from "./reports.js";

async function judged(raw: string) {
  const message = bytes(raw);
  return judgeBounce(readHead(message).fields, await typedParts(message));
}

describe("what mail systems send back", () => {
  test.each(SAMPLES)("$name", async ({ raw, kind, status, code }) => {
    const verdict = await judged(raw);
    expect(verdict.kind).toBe(kind);
    if (status !== undefined) expect(verdict.status).toBe(status);
    if (code !== undefined) expect(verdict.code).toBe(code);
    expect(verdict.words).toMatch(/^[\x20-\x7e]{0,300}$/);
  });

  test.each(SAMPLES)("$name, with the line ends of the wire", async ({ raw, kind }) => {
    expect((await judged(raw.replaceAll(/\r?\n/g, "\r\n"))).kind).toBe(kind);
  });

  test("the words are the other side's, not ours", async () => {
    const sample = SAMPLES.find(({ name }) => name.startsWith("qmail: the remote"));
    const { words } = await judged(sample?.raw ?? "");
    expect(words).toBe("Remote host said: 552 5.2.3 Message exceeds local size limit.");
  });
});

describe("readDeliveryStatus", () => {
  test("knows the recipients apart", () => {
    const fields = `Reporting-MTA: dns; mx

Final-Recipient: rfc822; a@b.example
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 No


Original-Recipient: rfc822;c@d.example
Action: delayed
`;
    expect(readDeliveryStatus(bytes(fields))).toEqual([
      { action: "failed", status: "5.1.1", diagnostic: "550 5.1.1 No", recipient: "a@b.example" },
      { action: "delayed", status: undefined, diagnostic: "", recipient: "c@d.example" },
    ]);
  });

  test("takes any bytes, and any cut of a report", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (part) => {
        expect(Array.isArray(readDeliveryStatus(part))).toBe(true);
      }),
    );
    for (const { raw } of SAMPLES) {
      for (let end = 0; end < raw.length; end += 7) readDeliveryStatus(bytes(raw.slice(0, end)));
    }
  });

  test("takes time in proportion", () => {
    const worst = [
      (n: number) => "Action: failed\n\n".repeat(n),
      (n: number) => "junk\n".repeat(n),
      (n: number) => "\n".repeat(n),
      (n: number) => `Diagnostic-Code: ${"5".repeat(n)}`,
      (n: number) => `Diagnostic-Code: ${"smtp ".repeat(n)}`,
    ];
    for (const make of worst) {
      const part = bytes(make(100_000));
      const cpuMs = cpuTimer();
      readDeliveryStatus(part);
      judgeBounce([], [{ type: "text/plain", bytes: part }]);
      expect(cpuMs()).toBeLessThan(1000);
    }
  });
});
