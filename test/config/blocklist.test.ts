/** The block list's lines, one by one, and through a configuration that names the file. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseBlocklist } from "../../src/config/blocklist.js";
import { loadConfig } from "../../src/config/load.js";
import { ConfigFaults } from "../../src/errors.js";
import { scratchOfFile } from "../support/scratch.js";

const FPR = "4D64FEC119C2029067D6E791F8D2585B8783D481";

describe("parseBlocklist", () => {
  it("reads fingerprint, reason, date and exception in any order of the words", () => {
    const line = `0x${FPR.toLowerCase()} until=2027-01-31 asked by owner allow-revocation`;
    const text = `# a comment\n\n${line}\n`;
    const { blocks, faults } = parseBlocklist(text);
    expect(faults).toEqual([]);
    expect([...blocks]).toEqual([
      [FPR, { reason: "asked by owner", until: Date.UTC(2027, 0, 31), allowRevocation: true }],
    ]);
  });

  it("blocks for good, without exception, when the line says no more", () => {
    const { blocks } = parseBlocklist(`${FPR}\r\n`);
    expect(blocks.get(FPR)).toEqual({
      reason: "no reason given",
      until: undefined,
      allowRevocation: false,
    });
  });

  it.each([
    ["8783D481 short key id", "full fingerprint"],
    [`${FPR.slice(0, 20)} ${FPR.slice(20)}`, "full fingerprint"],
    [`${FPR} until=2027-13-45`, "not a date"],
    [`${FPR} until=tomorrow`, "until=YYYY-MM-DD"],
  ])("finds fault with %j", (line, message) => {
    const { faults } = parseBlocklist(`# first\n${line}`);
    expect(faults.map((fault) => [fault.line, fault.message.includes(message)])).toEqual([
      [2, true],
    ]);
  });
});

describe("a configuration with a block list", () => {
  const directory = scratchOfFile();
  const config = join(directory, "kxgw.toml");
  const list = join(directory, "list.txt");
  writeFileSync(
    config,
    '[site]\naddress = "a@b.example"\n[log]\n[policy]\nblocklist = "list.txt"\n',
  );

  it("holds its blocks, and names the list when it is at fault", () => {
    writeFileSync(list, `${FPR} gone\n`);
    expect(loadConfig(config, {}).policy.blocks.get(FPR)?.reason).toBe("gone");
    writeFileSync(list, `${FPR} gone\nnonsense\n`);
    expect(() => loadConfig(config, {})).toThrow(ConfigFaults);
    expect(() => loadConfig(config, {})).toThrow(list);
    rmSync(list);
    expect(() => loadConfig(config, {})).toThrow(list);
  });
});
