#!/usr/bin/env node
/**
 * The process: arguments to a command, a command to an exit code (sysexits). Commands are one file
 * each in cli/ and return their code; only this file and
 * cli/operator-commands.ts know commander, and only this one ends the process. A
 * command is loaded when it is called, so that `kxgw hash` does not wait for the mail libraries.
 */
import { Command, CommanderError, Option } from "commander";
import { addOperatorCommands } from "./cli/operator-commands.js";
import type { Output } from "./cli/output.js";
import { EXIT } from "./errors.js";
import { VERSION } from "./version.js";

const out: Output = {
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
};

// `kxgw log | head` has seen enough: a reader that closes the pipe is no fault of anybody's.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(process.exitCode ?? EXIT.ok);
  out.stderr(`kxgw: the output cannot be written: ${error.message}\n`);
  process.exit(EXIT.ioError);
});

process.on("uncaughtException", (error) => {
  out.stderr(`kxgw: this is a bug, please report it:\n${error.stack ?? String(error)}\n`);
  process.exit(EXIT.software);
});

const program = new Command("kxgw")
  .description("Gateway between the mail synchronisation of OpenPGP keyservers and KX.")
  .version(VERSION)
  .exitOverride()
  .showSuggestionAfterError()
  .addHelpText("after", "\nExample:\n  kxgw demo\n\nEach command has an example: kxgw help check");

const configOption = () =>
  new Option("-c, --config <file>", "the config file").makeOptionMandatory();

program
  .command("serve")
  .description("run the gateway in the foreground; SIGTERM ends it")
  .option("-c, --config <file>", "the config file; without one an embedded default on loopback")
  .addHelpText("after", "\nExample:\n  kxgw serve -c /etc/kxgw/kxgw.toml")
  .action(async ({ config }: { config?: string }) => {
    const { serveCommand } = await import("./cli/serve.js");
    process.exitCode = await serveCommand(config, out, process.env);
  });

program
  .command("check")
  .description("say every fault of a config file by line and key; exits 0 or 78")
  .addOption(configOption())
  .option("-q, --quiet", "say nothing but faults")
  .option("--online", "ask DNS, the relay and the KX peers as well; exits 69 when one fails")
  .addHelpText("after", "\nExample:\n  kxgw check -c /etc/kxgw/kxgw.toml")
  .action(async (options: { config: string; online?: boolean; quiet?: boolean }) => {
    const { config, online, quiet } = options;
    const heard: Output = quiet === true ? { ...out, stdout: () => {} } : out;
    const { checkCommand } = await import("./cli/check.js");
    process.exitCode = checkCommand(config, heard, process.env);
    if (online !== true || process.exitCode !== EXIT.ok) return;
    const { onlineCommand } = await import("./cli/online.js");
    process.exitCode = await onlineCommand(config, heard, process.env);
  });

program
  .command("hash")
  .description("print FINGERPRINT and update hash of every key in files or on stdin")
  .argument("[file...]", "armored or binary, any number of keys")
  .addHelpText("after", "\nExample:\n  gpg --export 0x1234 | kxgw hash")
  .action(async (files: string[]) => {
    const { hashCommand } = await import("./cli/hash.js");
    process.exitCode = await hashCommand(files, process.stdin, out);
  });

program
  .command("ingest")
  .description("hand a mail from an alias pipe to the running gateway; exits 0, 65, 75 or 77")
  .argument("[file]", "the mail; standard input without one or with -")
  .addOption(configOption())
  .addHelpText(
    "after",
    '\nExample of an alias:\n  pgp-public-keys: "|/usr/bin/kxgw ingest -c /etc/kxgw/kxgw.toml"',
  )
  .action(async (file: string | undefined, { config }: { config: string }) => {
    const { ingestCommand } = await import("./cli/ingest.js");
    process.exitCode = await ingestCommand(config, file, out, process.env);
  });

program
  .command("log")
  .description("print the update log, oldest first")
  .addOption(configOption())
  .option("--json", "one JSON object a line")
  .addHelpText("after", "\nExample:\n  kxgw log -c /etc/kxgw/kxgw.toml --json | tail -1")
  .action(async ({ config, json }: { config: string; json?: boolean }) => {
    const { logCommand } = await import("./cli/log.js");
    process.exitCode = await logCommand(config, { json: json === true }, out, process.env);
  });

const db = program.command("db").description("look after the update log, beside a gateway or not");

db.command("check")
  .description("say whether the update log is sound; exits 0 or 74")
  .addOption(configOption())
  .addHelpText("after", "\nExample:\n  kxgw db check -c /etc/kxgw/kxgw.toml")
  .action(async ({ config }: { config: string }) => {
    const { dbCheckCommand } = await import("./cli/db.js");
    process.exitCode = dbCheckCommand(config, out, process.env);
  });

db.command("backup")
  .description("copy the update log to a file, also while the gateway runs")
  .argument("<file>", "the copy; must not be there yet")
  .addOption(configOption())
  .option("--force", "replace the file when it is there")
  .addHelpText("after", "\nExample:\n  kxgw db backup /var/backups/kxgw.db -c /etc/kxgw/kxgw.toml")
  .action(async (file: string, options: { config: string; force?: boolean }) => {
    const { dbBackupCommand } = await import("./cli/db.js");
    const { config, force = false } = options;
    const progress = process.stderr.isTTY === true;
    process.exitCode = await dbBackupCommand(config, file, { force, progress }, out, process.env);
  });

program
  .command("demo")
  .description("two gateways and two small mail sites on loopback, real keys from end to end")
  .option("--json", "print the result as JSON")
  .addHelpText("after", "\nExample:\n  kxgw demo --json | jq .milliseconds.median")
  .action(async ({ json }: { json?: boolean }) => {
    const { demoCommand } = await import("./cli/demo.js");
    process.exitCode = await demoCommand({ json: json === true }, out);
  });

addOperatorCommands(program, out);

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  // Commander has said what is wrong; --help and --version come this way with exit code 0.
  process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
}
