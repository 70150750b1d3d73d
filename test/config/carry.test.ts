/** The file of keys that are carried, and fingerprints and dates as people write them. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { checkCommand } from "../../src/cli/check.js";
import { parseCarry } from "../../src/config/carry.js";
import { parseFingerprint } from "../../src/config/fingerprint.js";
import { loadConfig } from "../../src/config/load.js";
import { parseDate } from "../../src/config/units.js";
import { ConfigFaults } from "../../src/errors.js";
import { captured } from "../cli/captured.js";
import { scratch } from "../support/scratch.js";

const FPR = "4D64FEC119C2029067D6E791F8D2585B8783D481";
const GROUPS = "4d64 fec1 19c2 0290 67d6  e791 f8d2 585b 8783 d481";

it("reads a fingerprint a line, in groups, with 0x, with comments", () => {
  const text = `# keys\n\n0x${FPR} # the role\n\t${GROUPS}\r\n${"ab".repeat(32)}\n`;
  const { carried, faults } = parseCarry(text);
  expect([...carried]).toEqual([FPR, "AB".repeat(32)]);
  expect(faults).toEqual([]);
});

it.each([
  ["8783D481", "is a key ID"],
  ["F8D2585B8783D481", "is a key ID"],
  [FPR.slice(1), "39 hex digits"],
  [`${FPR} Erika`, "is not a fingerprint"],
  ["0".repeat(40), "is not a fingerprint"],
  ["", "is not a fingerprint"],
])("finds fault with the fingerprint %j", (text, message) => {
  expect(parseFingerprint(text)).toEqual({ fault: expect.stringContaining(message) });
});

it("names the line of each fault, and takes an empty file for a mistake", () => {
  const { faults } = parseCarry(`${FPR}\nnonsense\n# ok\n8783D481`);
  expect(faults.map(({ line }) => line)).toEqual([2, 4]);
  expect(parseCarry("# none yet\n").faults[0]?.message).toMatch(/contains no fingerprint/);
});

it.each([
  ["2027-01-31", Date.UTC(2027, 0, 31)],
  ["2027-01-31T12:00Z", Date.UTC(2027, 0, 31, 12)],
  ["2027-01-31T12:00:30.5+02:00", Date.UTC(2027, 0, 31, 10, 0, 30, 500)],
])("reads the date %s", (text, value) => expect(parseDate(text)).toEqual({ value }));

it.each(["2027-02-30", "2027-1-1", "31.1.2027", "tomorrow", "", "2027-01-31T12:00", "2027-01-31Z"])(
  "refuses the date %j",
  (text) => expect(parseDate(text)).toEqual({ fault: expect.stringContaining("is not a date") }),
);

it("is part of the configuration: its faults are, and check says how many keys there are", () => {
  const directory = scratch();
  const file = join(directory, "kxgw.toml");
  const list = join(directory, "keys.txt");
  const policy = '[policy]\ncarry = "keys.txt"\nnew_keys = false\n';
  writeFileSync(file, `[site]\naddress = "a@b.example"\n[log]\n${policy}`);
  expect(() => loadConfig(file, {})).toThrow(ConfigFaults);
  writeFileSync(list, `${FPR}\n`);
  expect(loadConfig(file, {}).policy).toMatchObject({
    carry: list,
    carried: new Set([FPR]),
    newKeys: false,
  });
  const good = captured();
  expect(checkCommand(file, good, {})).toBe(0);
  expect(good.text).toContain(`policy    carries only the 1 key in ${list}\n`);
  writeFileSync(list, `${FPR}\n8783D481\n`);
  const bad = captured();
  expect(checkCommand(file, bad, {})).toBe(78);
  expect(bad.errors).toMatch(/^.*keys\.txt:2:1: "8783D481" is a key ID, .*\n$/);
  writeFileSync(list, "");
  expect(checkCommand(file, captured(), {})).toBe(78);
});
