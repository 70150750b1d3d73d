/**
 * Where keys stand: cases written by hand, and a property over generated TOML with the library as
 * the judge of what the keys are.
 */
import fc from "fast-check";
import { parse, stringify } from "smol-toml";
import { describe, expect, it } from "vitest";
import { formatKey, locateKeys, positionOf } from "../../src/config/locate.js";
import { cpuTimer } from "../support/cpu.js";

/** Every position as `key LINE:COLUMN`. */
const located = (text: string) =>
  [...locateKeys(text)].map(([key, { line, column }]) => `${key} ${line}:${column}`);

describe("locateKeys", () => {
  it.each([
    ["", []],
    ["# only\n  # comments", []],
    ["a = 1", ["a 1:1"]],
    ["\ufeffa = 1\r\n\r\n  b=2 # c\r\n", ["a 1:2", "b 3:3"]],
    ["[t]\na = 1\n[u]\na = 2", ["t 1:1", "t.a 2:1", "u 3:1", "u.a 4:1"]],
    ["[ t . u ]\na.b = 1", ["t 1:1", "t.u 1:1", "t.u.a 2:1", "t.u.a.b 2:1"]],
    [
      "[[p]]\nx = 1\n[[p]]\nx = 2\n[p.q]\ny = 3\n[[p]]",
      [
        "p 1:1",
        "p[0] 1:1",
        "p[0].x 2:1",
        "p[1] 3:1",
        "p[1].x 4:1",
        "p[1].q 5:1",
        "p[1].q.y 6:1",
      ].concat("p[2] 7:1"),
    ],
    [
      "[[p]]\n[[p.q]]\na = 1\n[[p.q]]\na = 2",
      ["p 1:1", "p[0] 1:1", "p[0].q 2:1", "p[0].q[0] 2:1", "p[0].q[0].a 3:1"].concat(
        "p[0].q[1] 4:1",
        "p[0].q[1].a 5:1",
      ),
    ],
    [
      '"a.b" = 1\n\'c d\' = 2\n"e\\"=\\u00e9" = 3\n"\\U0001F600" = 4\n"\\x41\\t" = 5\n"" = 6',
      ['"a.b" 1:1', '"c d" 2:1', '"e\\"=\\u00e9" 3:1', '"\\ud83d\\ude00" 4:1', '"A\\t" 5:1'].concat(
        '"" 6:1',
      ),
    ],
    ['[a."b.c"]\nd = 1', ["a 1:1", 'a."b.c" 1:1', 'a."b.c".d 2:1']],
    [
      'a = ["x", # b = 1\n  "]", \'#\',\n]\nb = 2',
      ["a 1:1", "a[0] 1:6", "a[1] 2:3", "a[2] 2:8", "b 4:1"],
    ],
    ["a = [[1, 2], [ ]]", ["a 1:1", "a[0] 1:6", "a[0][0] 1:7", "a[0][1] 1:10", "a[1] 1:14"]],
    [
      't = { a = 1, b.c = "}", d = { } }\nu = 1',
      ["t 1:1", "t.a 1:7", "t.b 1:14", "t.b.c 1:14", "t.d 1:25", "u 2:1"],
    ],
    ["p = [{ a = 1 },\n { a = 2 }]", ["p 1:1", "p[0] 1:6", "p[0].a 1:8", "p[1] 2:2", "p[1].a 2:4"]],
    ['a = """\n[t]\nb = 1\n"""\nc = 1', ["a 1:1", "c 5:1"]],
    ['a = """x\\"\\"\\" y\\\\"""\nb = 1', ["a 1:1", "b 2:1"]],
    ['a = """x\\""" \nb = 1\n"""\nc = 1', ["a 1:1", "c 4:1"]],
    ['a = ["""x""""", 2]', ["a 1:1", "a[0] 1:6", "a[1] 1:17"]],
    ["a = ['''x''''', 2]", ["a 1:1", "a[0] 1:6", "a[1] 1:17"]],
    ['a = """two ""quotes"""""\nb = 1', ["a 1:1", "b 2:1"]],
    ["a = '''\\'''\nb = '''''''\nc = 1", ["a 1:1", "b 2:1", "c 3:1"]],
    ['a = "\\"" # "\nb = \'\\\'\nc = 1', ["a 1:1", "b 2:1", "c 3:1"]],
    [
      'a = ["""\n,]\n""", 1]\nb = 1979-05-27 07:32:00\nc = 1',
      ["a 1:1", "a[0] 1:6", "a[1] 3:6", "b 4:1", "c 5:1"],
    ],
  ])("%j", (text, positions) => {
    expect(() => parse(text)).not.toThrow();
    expect(located(text)).toEqual(positions);
  });

  it("finds the nearest table for a key that is not there", () => {
    const positions = locateKeys("[site]\n[[peer]]\n[[peer]]\n");
    expect(positionOf(positions, ["site", "address"])).toEqual({ line: 1, column: 1 });
    expect(positionOf(positions, ["peer", 1, "name"])).toEqual({ line: 3, column: 1 });
    expect(positionOf(positions, ["log"])).toBeUndefined();
  });

  it("finds every key of generated TOML, at a place where that key stands", () => {
    const key = fc.oneof(
      fc.constantFrom("a", "b-1", "a.b", "", '"', "'", "[x]", "#", "é", "="),
      fc.string(),
    );
    const { value } = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { depthSize: "small" },
        fc.string(),
        fc.constantFrom('"""', "'''", "\n[t]\n", "\\", '\\"""', "]}", "# x", "a = 1\n"),
        fc.integer(),
        fc.boolean(),
        fc.array(fc.string(), { maxLength: 3 }),
        fc.array(fc.dictionary(key, tie("value"), { maxKeys: 3 }), { maxLength: 3 }),
        fc.dictionary(key, tie("value"), { maxKeys: 4 }),
      ),
    }));
    let seen = 0;
    fc.assert(
      fc.property(fc.dictionary(key, value, { maxKeys: 5 }), (tree) => {
        const text = stringify(tree);
        const lines = text.split("\n");
        const positions = locateKeys(text);
        const visit = (node: unknown, path: (string | number)[]) => {
          if (path.length > 0) {
            const position = positions.get(formatKey(path));
            const line = lines[(position?.line ?? 0) - 1] ?? "";
            expect({ text, path: formatKey(path), found: position !== undefined }).toEqual({
              text,
              path: formatKey(path),
              found: true,
            });
            expect(line.slice((position?.column ?? 0) - 1)).not.toBe("");
            seen += 1;
          }
          if (typeof node !== "object" || node === null) return;
          for (const [name, child] of Object.entries(node)) {
            visit(child, [...path, Array.isArray(node) ? Number(name) : name]);
          }
        };
        visit(parse(text), []);
      }),
      { numRuns: 500 },
    );
    expect(seen).toBeGreaterThan(1000);
  });

  it("ends on any text, and in time", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(..."[]{}=\"'\\#.,\n\r ab1") }), (text) => {
        locateKeys(text);
      }),
      { numRuns: 3000 },
    );
    const n = 200_000;
    const worst = ["[", "{", '"', "'", '"""', "a.", "a=[", "a={a=", "#\n", " #\n", "\n", ","];
    for (const unit of [...worst, "[[a]]\n", 'a="\\', "\\", "a=1\n", 'a="""\\"']) {
      const cpuMs = cpuTimer();
      locateKeys(unit.repeat(n));
      locateKeys(`a = ${unit.repeat(n)}`);
      locateKeys(`a = """${unit.repeat(n)}`);
      expect({ unit, slow: cpuMs() > 4000 }).toEqual({ unit, slow: false });
    }
  });
});
