/**
 * `-c FILE`, the option of nearly every command, and where the config is looked for without it:
 * in the directory that one is in, then where a package would put it.
 */
import { existsSync } from "node:fs";
import { Option } from "commander";

/** Where a config is looked for when -c is not given, in this order. */
export const CONFIG_PLACES = ["kxgw.toml", "/etc/kxgw/kxgw.toml"] as const;

/** The option, with the first place at which there is a file. */
export function configOption(): Option {
  const place = CONFIG_PLACES.find((path) => existsSync(path)) ?? CONFIG_PLACES[1];
  const option = new Option("-c, --config <file>", "the config file");
  return option.default(place, CONFIG_PLACES.join(", else "));
}
