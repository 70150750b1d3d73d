/**
 * `kxgw hash` on the fixtures, whose hashes come from the vectors, on everything that can be wrong
 * with an input, and on a large keyring.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { hashCommand } from "../../src/cli/hash.js";
import { readArmor } from "../../src/openpgp/armor.js";
import { PROGRAM, ROOT } from "../e2e/stage.js";
import { scratchOfFile } from "../support/scratch.js";

const KEYS = join(ROOT, "test/fixtures/keys");
const FILES = readdirSync(KEYS).map((file) => join(KEYS, file));

interface Vector {
  readonly name: string;
  readonly fingerprint: string;
  readonly hash: string;
}
const VECTORS: Vector[] = JSON.parse(
  readFileSync(join(ROOT, "test/fixtures/update-hash.json"), "utf8"),
);

/** The line that a fixture must give. */
function lineOf(file: string): string {
  const name = `${/role-[0-9A-F]+/.exec(file)?.[0]}/as-published`;
  const vector = VECTORS.find((each) => each.name === name);
  return `${vector?.fingerprint} ${vector?.hash}\n`;
}

function binary(file: string): Uint8Array {
  const [block] = readArmor(readFileSync(file));
  if (block === undefined || block instanceof Error) throw new Error(file);
  return block.data;
}

const directory = scratchOfFile();

async function hash(files: readonly string[], ...input: (Uint8Array | string)[]) {
  let stdout = "";
  let stderr = "";
  const out = {
    stdout: (text: string) => {
      stdout += text;
    },
    stderr: (text: string) => {
      stderr += text;
    },
  };
  const code = await hashCommand(files, Readable.from(input), out);
  return { code, stdout, stderr };
}

const [A = "", B = "", C = ""] = FILES;
const SECRET_BLOCK =
  "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA\n-----END PGP PRIVATE KEY BLOCK-----\n";

describe("kxgw hash", () => {
  it("prints fingerprint and hash of every fixture", async () => {
    const result = await hash(FILES);
    expect(result).toEqual({ code: 0, stdout: FILES.map(lineOf).join(""), stderr: "" });
    expect(result.stdout).toMatch(/^([0-9A-F]{40} [0-9a-f]{32}\n){22}$/);
  });

  it("reads standard input: armored, several blocks with text between, in odd pieces", async () => {
    const text = `Dear all,\r\n${readFileSync(A)}\nand\n${readFileSync(B)}`;
    const pieces = text.match(/[\s\S]{1,777}/g) ?? [];
    expect(await hash([], ...pieces)).toEqual({
      code: 0,
      stdout: lineOf(A) + lineOf(B),
      stderr: "",
    });
  });

  it('reads standard input: a binary keyring, and "-" beside files', async () => {
    const keyring = Buffer.concat([binary(A), binary(B)]);
    expect(await hash([C, "-"], keyring)).toEqual({
      code: 0,
      stdout: lineOf(C) + lineOf(A) + lineOf(B),
      stderr: "",
    });
  });

  it.each([
    ["nothing", "", "contains no OpenPGP key"],
    ["a text without a key", "hello\n", "contains no OpenPGP key"],
    ["a secret key", SECRET_BLOCK, "secret key (line 1)"],
    ["binary rubbish", Buffer.from("ffffffffffff", "hex"), ""],
  ])("refuses %s", async (_, input, message) => {
    const result = await hash([], input);
    expect(result).toEqual({ code: 65, stdout: "", stderr: expect.stringContaining(message) });
    expect(result.stderr).toMatch(/^\(standard input\): .+\n$/);
  });

  it("prints what is good beside what is bad, and says where the bad stands", async () => {
    const armored = await hash([], `${readFileSync(A)}\n${SECRET_BLOCK}${readFileSync(B)}`);
    const line = readFileSync(A, "latin1").split("\n").length + 1;
    expect(armored.code).toBe(65);
    expect(armored.stdout).toBe(lineOf(A) + lineOf(B));
    expect(armored.stderr).toMatch(new RegExp(`^\\(standard input\\): .*line ${line}\\)\n$`));

    const [first, second] = [binary(A), binary(B)];
    const keyring = await hash([], Buffer.concat([first, second.subarray(0, -1)]));
    expect(keyring.code).toBe(65);
    expect(keyring.stdout).toBe(lineOf(A));
    expect(keyring.stderr).toMatch(/^\(standard input\): .*offset \d+/);
  });

  it("names the block in which a packet is bad", async () => {
    const broken = Buffer.from(binary(A).subarray(0, 40)).toString("base64");
    const [begin, end] = ["BEGIN", "END"].map((word) => `-----${word} PGP PUBLIC KEY BLOCK-----`);
    const text = `\n\n${begin}\n\n${broken}\n${end}\n`;
    const result = await hash([], text);
    expect(result.code).toBe(65);
    expect(result.stderr).toMatch(/^\(standard input\): in the block at line 3: .*offset \d+/);
  });

  it("goes on behind a file that it cannot read, and ends with 66", async () => {
    const bad = join(directory, "bad.asc");
    writeFileSync(bad, "no key\n");
    const none = join(directory, "none");
    const result = await hash([none, bad, directory, A]);
    expect(result).toEqual({
      code: 66,
      stdout: lineOf(A),
      stderr:
        `${none}: cannot be read: no such file\n` +
        `${bad}: contains no OpenPGP key\n` +
        `${directory}: cannot be read: is a directory\n`,
    });
    expect((await hash([bad, A])).code).toBe(65);
  });

  it("does not read for ever", async () => {
    const chunk = Buffer.alloc(64 * 1024 * 1024);
    let given = 0;
    const endless = Readable.from(
      (function* () {
        for (;;) {
          given += 1;
          yield chunk;
        }
      })(),
    );
    const lines: string[] = [];
    const out = { stdout: () => {}, stderr: (text: string) => lines.push(text) };
    expect(await hashCommand([], endless, out)).toBe(65);
    expect(lines).toEqual(["(standard input): is larger than 1 GiB: split it\n"]);
    expect(given).toBeLessThan(20);
  });
});

describe("a large keyring", () => {
  it("takes less than 3 s for the whole process", () => {
    const keyring = join(directory, "keyring.gpg");
    const keys = FILES.map(binary);
    writeFileSync(keyring, Buffer.concat(Array.from({ length: 40 }, () => keys).flat()));
    const start = performance.now();
    const stdout = execFileSync(process.execPath, [PROGRAM, "hash", keyring], {
      encoding: "utf8",
      maxBuffer: 16 * 1024 * 1024,
    });
    const seconds = (performance.now() - start) / 1000;
    const lines = stdout.trimEnd().split("\n");
    expect(lines).toHaveLength(40 * FILES.length);
    expect(lines.filter((line) => !/^[0-9A-F]{32,64} [0-9a-f]{32}$/.test(line))).toEqual([]);
    expect(seconds).toBeLessThan(3);
  });
});
