#!/usr/bin/env node
/**
 * The process: arguments to a command, a command to an exit code (sysexits). Commands are one file
 * each in cli/ and return their code; only this file knows commander and ends the process.
 */
import { Command, CommanderError, Option } from "commander";
import { checkCommand } from "./cli/check.js";
import { demoCommand } from "./cli/demo.js";
import { hashCommand } from "./cli/hash.js";
import { logCommand } from "./cli/log.js";
import type { Output } from "./cli/output.js";
import { serveCommand } from "./cli/serve.js";
import { EXIT } from "./errors.js";
import { VERSION } from "./version.js";

const out: Output = {
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
};

const program = new Command("kxgw")
  .description("Gateway between the mail synchronisation of OpenPGP keyservers and KX.")
  .version(VERSION)
  .exitOverride()
  .showSuggestionAfterError();

const configOption = () =>
  new Option("-c, --config <file>", "the config file").makeOptionMandatory();

program
  .command("serve")
  .description("run the gateway in the foreground; SIGTERM ends it")
  .option("-c, --config <file>", "the config file; without one an embedded default on loopback")
  .addHelpText("after", "\nExample:\n  kxgw serve -c /etc/kxgw/kxgw.toml")
  .action(async ({ config }: { config?: string }) => {
    process.exitCode = await serveCommand(config, out, process.env);
  });

program
  .command("check")
  .description("say every fault of a config file by line and key; exits 0 or 78")
  .addOption(configOption())
  .addHelpText("after", "\nExample:\n  kxgw check -c /etc/kxgw/kxgw.toml")
  .action(({ config }: { config: string }) => {
    process.exitCode = checkCommand(config, out, process.env);
  });

program
  .command("hash")
  .description("print FINGERPRINT and update hash of every key in files or on stdin")
  .argument("[file...]", "armored or binary, any number of keys")
  .addHelpText("after", "\nExample:\n  gpg --export 0x1234 | kxgw hash")
  .action(async (files: string[]) => {
    process.exitCode = await hashCommand(files, process.stdin, out);
  });

program
  .command("log")
  .description("print the update log, oldest first")
  .addOption(configOption())
  .option("--json", "one JSON object a line")
  .addHelpText("after", "\nExample:\n  kxgw log -c /etc/kxgw/kxgw.toml --json | tail -1")
  .action(({ config, json }: { config: string; json?: boolean }) => {
    process.exitCode = logCommand(config, { json: json === true }, out, process.env);
  });

program
  .command("demo")
  .description("two gateways and two small mail sites on loopback, real keys from end to end")
  .option("--json", "print the result as JSON")
  .addHelpText("after", "\nExample:\n  npx kxgw demo")
  .action(async ({ json }: { json?: boolean }) => {
    process.exitCode = await demoCommand({ json: json === true }, out);
  });

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  // Commander has said what is wrong; --help and --version come this way with exit code 0.
  process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
}
