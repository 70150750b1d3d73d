/**
 * `-c FILE`, an option of nearly every command. Without it the config is searched in the current
 * directory, then in the place where a package installs it.
 */
import { existsSync } from "node:fs";
import { Option } from "commander";

/** Where a config is searched without -c, in this order. */
export const CONFIG_PLACES = ["kxgw.toml", "/etc/kxgw/kxgw.toml"] as const;

/** The option. Its default is the first of these files that exists. */
export function configOption(): Option {
  const place = CONFIG_PLACES.find((path) => existsSync(path)) ?? CONFIG_PLACES[1];
  const option = new Option("-c, --config <file>", "config file");
  return option.default(place, CONFIG_PLACES.join(", else "));
}
