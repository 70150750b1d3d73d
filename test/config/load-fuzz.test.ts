/** Whatever a file holds, the answer is a configuration or its faults, and it comes soon. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { parseConfig } from "../../src/config/load.js";
import { ConfigFaults } from "../../src/errors.js";
import { cpuTimer } from "../support/cpu.js";
import { EXAMPLE } from "./example.js";

const SLOW_MS = 1000;

/** 'ok' or 'faults'; every other exception comes through, and slowness fails. */
function outcome(text: string, env: Record<string, string> = {}): "ok" | "faults" {
  const cpuMs = cpuTimer();
  try {
    parseConfig(text, "kxgw.toml", "/etc", env);
    return "ok";
  } catch (error) {
    if (!(error instanceof ConfigFaults)) throw error;
    expect(error.faults.length).toBeGreaterThan(0);
    const lines = text.split("\n");
    for (const { line, column, key, message } of error.faults) {
      expect(`${key}${message}`).toMatch(/^[ -~]+$/);
      if (line === undefined) continue;
      expect(line).toBeLessThanOrEqual(lines.length);
      expect(column).toBeLessThanOrEqual((lines[line - 1] ?? "").length + 1);
    }
    return "faults";
  } finally {
    expect(cpuMs()).toBeLessThan(SLOW_MS);
  }
}

it("survives any text", () => {
  const tomlish = fc.string({ unit: fc.constantFrom(..."[]{}=\"'\\#.,\n\t _-+:aeiT019é\u0000") });
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: "binary" }), tomlish), (text) => {
      expect(outcome(text)).toBe("faults");
    }),
    { numRuns: 2000 },
  );
});

it("survives the example with pieces taken out, put in, doubled and swapped", () => {
  const lines = EXAMPLE.split("\n");
  const place = fc.nat(EXAMPLE.length);
  const scrap = fc.oneof(
    fc.string({ maxLength: 5 }),
    fc.constantFrom('"', "'", '"""', "[", "]", "=", "\n", "#", "{", ".", "[[peer]]\n", "\\u0000"),
    fc.constantFrom(...lines.map((line) => `${line}\n`)),
    fc.constantFrom("9", "0", ":", "@", "*", " ", ",", "/", "-", "h", "true", "1979-05-27"),
  );
  const edit = fc.tuple(place, fc.nat(8), scrap);
  const seen = { ok: 0, faults: 0 };
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
      let text = EXAMPLE;
      for (const [at, cut, put] of edits) text = text.slice(0, at) + put + text.slice(at + cut);
      seen[outcome(text)] += 1;
    }),
    { numRuns: 3000 },
  );
  expect(seen.ok).toBeGreaterThan(20);
  expect(seen.faults).toBeGreaterThan(1000);
});

it("survives the example with any value behind any key", () => {
  const keys = [...EXAMPLE.matchAll(/^([a-z_]+) = ([^#\n]*?) *(?:#.*)?$/gm)].map((match) => ({
    start: match.index + `${match[1]} = `.length,
    end: match.index + `${match[1]} = `.length + (match[2] ?? "").length,
  }));
  expect(keys).toHaveLength(23);
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string({ unit: fc.constantFrom(..."0159.:@[]*,/smhdkiMB ") }),
  );
  const value = fc.oneof(
    text.map((string) => JSON.stringify(string).replaceAll("\u007f", "")),
    fc.array(text).map((strings) => JSON.stringify(strings).replaceAll("\u007f", "")),
    fc.constantFrom("1", "-1", "0.5", "nan", "inf", "true", "[]", "{}", "[[]]", "{ a = 1 }"),
  );
  fc.assert(
    fc.property(fc.constantFrom(...keys), value, ({ start, end }, put) => {
      outcome(EXAMPLE.slice(0, start) + put + EXAMPLE.slice(end));
    }),
    { numRuns: 3000 },
  );
});

it("survives any environment", () => {
  const name = fc.oneof(
    fc.string().map((text) => `KXGW_${text}`),
    fc.constantFrom("KXGW_MODE", "KXGW_SMTP__LISTEN", "KXGW_OUTBOUND__RELAY", "KXGW_LOG__RETAIN"),
  );
  fc.assert(
    fc.property(fc.dictionary(name, fc.string()), (env) => {
      outcome(EXAMPLE, env);
    }),
  );
});

it("is not slow on large and odd files", () => {
  const n = 1_000_000;
  const fill = (unit: string) => unit.repeat(Math.floor(n / unit.length));
  const cpuMs = cpuTimer();
  const texts = [
    ...["[", "{", '"', "\n", "#\n", "a.", "\\", " ", "é", ","].map(fill),
    ...["[", "{a=", '"', "'", '"""', '"\\', '"""\\"'].map((unit) => `a = ${fill(unit)}`),
    `[${fill("a.")}a]\nb = 1`,
    `${fill("a.")}a = 1`,
    `a = ["${fill('x", "')}"]`,
    `a = ${fill("9")}`,
    `mode = "${fill("x")}"`,
    `[site]\naddress = "${fill("a.")}@b"`,
    `[site]\naddress = "a@${fill("b.")}"`,
    `[kx]\nreconnect = "${fill("1s*1,")}"`,
    `[kx]\nreconnect = "${fill(" ")}"`,
    `[kx]\nlisten = ["${fill("1:")}"]`,
    `[[peer]]\naccept_from = ["${fill("1/")}"]`,
    `[outbound]\nrelay = "smtp://${fill("@")}"`,
  ];
  for (const text of texts) {
    try {
      parseConfig(text, "kxgw.toml", "/etc", {});
    } catch (error) {
      if (!(error instanceof ConfigFaults)) throw error;
    }
  }
  const many = Array.from(
    { length: 20_000 },
    (_, i) => `[[peer]]\nname="p${i}"\nkx="h:1"\nx${i}=1`,
  );
  expect(() => parseConfig(many.join("\n").slice(0, n), "a", "/", {})).toThrow(ConfigFaults);
  expect(cpuMs()).toBeLessThan(10_000);
});
