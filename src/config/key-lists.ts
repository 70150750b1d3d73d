/**
 * The files of keys that `[policy]` names, `blocklist` and `carry`. They are read with the config:
 * an error in one is an error of the configuration, with name and line of the file.
 */
import type { ConfigFault } from "../errors.js";
import { ConfigFaults } from "../errors.js";
import { parseBlocklist } from "./blocklist.js";
import { parseCarry } from "./carry.js";
import type { Config } from "./config.js";
import { reasonOf } from "./reason.js";
import { readText } from "./text-file.js";

/** Enough for 400,000 fingerprints, which use 40 MB of memory. */
const MAX_LIST_BYTES = 16 * 1024 ** 2;

/** The configuration with its lists read. Throws `ConfigFaults`. */
export function withKeyLists(config: Config): Config {
  const { policy } = config;
  const blocks = policy.blocklist && read(policy.blocklist, parseBlocklist).blocks;
  const carried = policy.carry && read(policy.carry, parseCarry).carried;
  const lists = { blocks: blocks || policy.blocks, carried: carried || undefined };
  return { ...config, policy: { ...policy, ...lists } };
}

function read<T extends { readonly faults: readonly ConfigFault[] }>(
  file: string,
  parse: (text: string) => T,
): T {
  let text: string;
  try {
    text = readText(file, MAX_LIST_BYTES);
  } catch (error) {
    const message = `cannot be read: ${reasonOf(error)}`;
    throw new ConfigFaults(file, [{ line: undefined, column: undefined, key: "", message }]);
  }
  const parsed = parse(text);
  if (parsed.faults.length > 0) throw new ConfigFaults(file, parsed.faults);
  return parsed;
}
