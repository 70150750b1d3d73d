/**
 * `-c FILE`, an option of nearly every command. Without it the config is searched in the current
 * directory, then in the place where a package installs it. All commands search in this one way.
 */
import { lstatSync } from "node:fs";
import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import { EXIT } from "../errors.js";

/** Where a config is searched without -c, in this order. */
export const CONFIG_PLACES = ["kxgw.toml", "/etc/kxgw/kxgw.toml"] as const;

/**
 * The option; its value is "" if no place has a config. `otherwise` says what a command does that
 * works without one.
 */
export function configOption(otherwise?: string): Option {
  const places = [...CONFIG_PLACES, ...(otherwise === undefined ? [] : [otherwise])];
  return new Option("-c, --config <file>", "config file")
    .argParser((file) => {
      if (file === "") throw new InvalidArgumentError("Write the name of a file.");
      return file;
    })
    .default(foundConfig() ?? "", places.join(", else "));
}

/**
 * The first of the places that has a file. A file or directory without permission counts, so that
 * its error is reported and no other config is used instead.
 */
function foundConfig(): string | undefined {
  return CONFIG_PLACES.find((path) => {
    try {
      lstatSync(path);
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      return code !== "ENOENT" && code !== "ENOTDIR";
    }
  });
}

/** Ends a command that needs a config, has no -c, and found none; 78. */
export function requireConfig(command: Command): void {
  const { config } = command.opts<{ readonly config?: string }>();
  const option = command.options.find(({ long }) => long === "--config");
  if (option?.defaultValueDescription !== CONFIG_PLACES.join(", else ")) return;
  if (config !== "") return;
  command.error(
    `kxgw: no config: neither ${CONFIG_PLACES.join(" nor ")} exists\n` +
      '      Write one with "kxgw init", or name one with -c FILE.',
    { exitCode: EXIT.config },
  );
}
