/**
 * The files of keys that `[policy]` names, `blocklist` and `carry`, read with the configuration: a
 * fault in one is a fault of the configuration, under the file's own name and line.
 */
import type { ConfigFault } from "../errors.js";
import { ConfigFaults } from "../errors.js";
import { parseBlocklist } from "./blocklist.js";
import { parseCarry } from "./carry.js";
import type { Config } from "./config.js";
import { reasonOf } from "./reason.js";
import { readText } from "./text-file.js";

/** 400,000 fingerprints, which take 40 MB of memory: more is no partial gateway. */
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
