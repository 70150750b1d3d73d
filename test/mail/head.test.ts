/** Heads of every shape, cut where a mail server cuts them, in linear time. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { headerValues, MAX_FIELDS, MAX_HEAD_BYTES, readHead } from "../../src/mail/head.js";
import { cpuTimer } from "../support/cpu.js";
import { bytes, text } from "./fixtures.js";

function read(message: string): { fields: string[]; body: string } {
  const raw = bytes(message);
  const { fields, bodyStart } = readHead(raw);
  return {
    fields: fields.map(({ name, value }) => `${name}=${value}`),
    body: text(raw.subarray(bodyStart)),
  };
}

describe("readHead", () => {
  test.each([
    ["a plain head", "To: a\nFrom: b\n\nbody\n", ["To=a", "From=b"], "body\n"],
    ["a tab fold", "X: a,\n\tb\n\n", ["X=a,\tb"], ""],
    ["a blank fold over three lines", "X:\n a\n  b\nY: c\n\nz", ["X=a  b", "Y=c"], "z"],
    ["no blanks and many", "X:a\nY:   b \t\n\n", ["X=a", "Y=b"], ""],
    ["a blank before the colon", "X : a\n\n", ["X=a"], ""],
    ["an empty value", "X:\n\n", ["X="], ""],
    ["colons in the value", "X: a: b\n\n", ["X=a: b"], ""],
    ["no head: only a body", "-----BEGIN PGP\n\nX: y\n", [], "-----BEGIN PGP\n\nX: y\n"],
    ["no head: a blank line first", "\nX: y\n", [], "X: y\n"],
    ["no head: a fold first", " a\nX: y\n\n", [], " a\nX: y\n\n"],
    ["nothing", "", [], ""],
    ["no body and no last line end", "X: a\nY: b", ["X=a", "Y=b"], ""],
    ["a body without a blank line", "X: a\nno field\nY: b\n", ["X=a"], "no field\nY: b\n"],
    ["an mbox line", "From a@b Mon Jan  1 00:00:00 2024\nX: a\n\nz", ["X=a"], "z"],
    ["a quoted mbox line", ">From a@b Mon Jan  1 00:00:00 2024\nX: a\n\nz", ["X=a"], "z"],
    ["From with an old blank is a field", "From : a@b\n\nz", ["From=a@b"], "z"],
    ["junk below an mbox line is body", "From a b\nX: a\njunk\nY: b\n", ["X=a"], "junk\nY: b\n"],
    ["an mbox line further down is body", "X: a\nFrom b\n\n", ["X=a"], "From b\n\n"],
    ["8-bit bytes, NUL and a lone CR stay", "X: \xe4\0b\rY: c\n\n", ["X=\xe4\0b\rY: c"], ""],
  ])("reads %s", (_, message, fields, body) => {
    expect(read(message)).toEqual({ fields, body });
    const lone = message.includes("\r");
    if (!lone) {
      const crlf = message.replaceAll("\n", "\r\n");
      expect(read(crlf)).toEqual({ fields, body: body.replaceAll("\n", "\r\n") });
    }
  });

  test("reads from a view into a larger buffer", () => {
    const raw = bytes("JUNKX: a\n\nzJUNK").subarray(4, -4);
    expect(readHead(raw)).toEqual({ fields: [{ name: "X", value: "a" }], bodyStart: 6 });
  });

  test("finds values in any case, in order", () => {
    const { fields } = readHead(bytes("x-a: 1\nB: 2\nX-A: 3\n\n"));
    expect(headerValues(fields, "X-a")).toEqual(["1", "3"]);
    expect(headerValues(fields, "C")).toEqual([]);
  });

  test("refuses the field above the limit and the byte above the limit", () => {
    const refusal = expect.objectContaining({ name: "Refusal", reason: "bad-mail" });
    expect(readHead(bytes(`${"a:\n".repeat(MAX_FIELDS)}\n`)).fields).toHaveLength(1000);
    expect(() => readHead(bytes(`${"a:\n".repeat(MAX_FIELDS + 1)}\n`))).toThrow(refusal);
    const fits = `X: ${"a".repeat(MAX_HEAD_BYTES - 4)}\n`;
    expect(readHead(bytes(`${fits}\n`)).fields).toHaveLength(1);
    expect(() => readHead(bytes(`${fits} a\n\n`))).toThrow(refusal);
    expect(() => readHead(bytes(`X: ${"a".repeat(MAX_HEAD_BYTES)}`))).toThrow(refusal);
    expect(readHead(bytes(`${fits}\n${"b".repeat(MAX_HEAD_BYTES)}`)).fields).toHaveLength(1);
  });

  test("gives clean names and unfolded values for any bytes", () => {
    const piece = fc.constantFrom("X: a", "\n", "\r\n", " ", ":", "From ", "b", "\t", "\0", "\r");
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        const raw = bytes(pieces.join(""));
        const { fields, bodyStart } = readHead(raw);
        expect(bodyStart).toBeLessThanOrEqual(raw.length);
        for (const { name, value } of fields) {
          expect(name).toMatch(/^[!-9;-~]+$/);
          expect(value).not.toContain("\n");
        }
      }),
      { numRuns: 10_000 },
    );
  });

  test("is linear: two megabytes of the worst take well under a second", () => {
    for (const worst of ["X: a\n", " \n", "a", ":", "\r", "X:\n "]) {
      const raw = bytes(`X: a\n${worst.repeat(2_000_000 / worst.length)}`);
      const cpuMs = cpuTimer();
      try {
        readHead(raw);
      } catch (error) {
        expect(error).toHaveProperty("reason", "bad-mail");
      }
      expect(cpuMs()).toBeLessThan(1000);
    }
  });
});
