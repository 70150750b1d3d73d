/**
 * The command table for commander: names, arguments, options and an example each. The operator's
 * commands are in a file of their own. Completion, man page and `--help` derive from this table. A
 * command is loaded when it is called, so that `kxgw hash` does not load the mail libraries.
 */
import { Command, Option } from "commander";
import { suggest } from "../config/suggest.js";
import { EXIT } from "../errors.js";
import { VERSION } from "../version.js";
import { configOption, requireConfig } from "./config-option.js";
import type { DemoOptions } from "./demo.js";
import { addOperatorCommands } from "./operator-commands.js";
import type { Output } from "./output.js";

/** All commands. Each one writes to `out` and sets the exit code of the process. */
export function programOf(out: Output): Command {
  const program = new Command("kxgw")
    .description("Gateway between OpenPGP keyservers that synchronise by mail and KX peers.")
    .version(VERSION)
    .exitOverride()
    .showSuggestionAfterError()
    .hook("preAction", (_, command) => requireConfig(command))
    .addHelpText(
      "after",
      "\nExample:\n  kxgw demo\n\nThe help of each command has an example: kxgw help check",
    );

  addGateway(program, out);
  addMaterial(program, out);
  addLog(program, out);
  addOperatorCommands(program, out);
  return program;
}

/**
 * Prints the help that `kxgw help WORDS` asks for and returns true. A word that names no command is
 * an error, in every group and with or without help; commander prints the help of the group then.
 */
export function checkWords(program: Command, words: readonly string[]): boolean {
  let command = program;
  let isHelp = false;
  for (const word of words.filter((one) => !one.startsWith("-"))) {
    const names = command.commands.map((one) => one.name());
    if (names.length === 0 && !isHelp) return false;
    if (names.length > 0 && word === "help") {
      isHelp = true;
      continue;
    }
    const next = command.commands.find((one) => one.name() === word);
    if (next === undefined) program.error(unknownCommand(command, word, names));
    command = next;
  }
  if (isHelp) command.outputHelp();
  return isHelp;
}

function unknownCommand(group: Command, word: string, names: readonly string[]): string {
  const path = group.parent === null ? "" : ` ${group.name()}`;
  if (names.length === 0) return `error: '${word}' is no command of kxgw${path}`;
  const meant = suggest(word, names);
  const hint = meant === undefined ? "" : `\n(Did you mean ${meant}?)`;
  return `error: unknown command '${word}'${hint}\nList of commands: kxgw help${path}`;
}

function addGateway(program: Command, out: Output): void {
  program
    .command("serve")
    .description("run the gateway in the foreground until SIGTERM")
    .addOption(configOption("a built-in config on loopback"))
    .addHelpText("after", "\nExample:\n  kxgw serve -c /etc/kxgw/kxgw.toml")
    .action(async ({ config }: { config: string }) => {
      const { serveCommand } = await import("./serve.js");
      const file = config === "" ? undefined : config;
      process.exitCode = await serveCommand(file, out, process.env);
    });

  program
    .command("check")
    .description("report all errors of a config file by line and key; exits 0 or 78")
    .addOption(configOption())
    .option("-q, --quiet", "print errors only")
    .option("--online", "also check DNS, the relay and the KX peers; exits 69 if a check fails")
    .addHelpText("after", "\nExample:\n  kxgw check -c /etc/kxgw/kxgw.toml")
    .action(async (options: { config: string; online?: boolean; quiet?: boolean }) => {
      const { config, online, quiet } = options;
      const shown: Output = quiet === true ? { ...out, stdout: () => {} } : out;
      const { checkCommand } = await import("./check.js");
      process.exitCode = checkCommand(config, shown, process.env);
      if (online !== true || process.exitCode !== EXIT.ok) return;
      const { onlineCommand } = await import("./online.js");
      process.exitCode = await onlineCommand(config, shown, process.env);
    });

  program
    .command("demo")
    .description("send real keys through two gateways and two mail sites on loopback")
    .option("--json", "print JSON")
    .option("--smtp <host:port>", "use a running gateway: mail the keys to this address")
    .option("--site <address>", "mail address of that gateway")
    .option("--keyserver <url>", "check that this keyserver receives the keys")
    .addHelpText("after", "\nExample:\n  kxgw demo --json | jq .milliseconds.median")
    .action(async (options: Partial<DemoOptions>) => {
      const { json = false, smtp, site, keyserver } = options;
      const { demoCommand } = await import("./demo.js");
      process.exitCode = await demoCommand({ json, smtp, site, keyserver }, out);
    });
}

/** Commands that read keys and mails. */
function addMaterial(program: Command, out: Output): void {
  program
    .command("hash")
    .description("print fingerprint and update hash of each key in files or on stdin")
    .argument("[file...]", "armored or binary, any number of keys")
    .addHelpText("after", "\nExample:\n  gpg --export 0x1234 | kxgw hash")
    .action(async (files: string[]) => {
      const { hashCommand } = await import("./hash.js");
      process.exitCode = await hashCommand(files, process.stdin, out);
    });

  program
    .command("ingest")
    .description("pass a mail from an alias pipe to the running gateway; exits 0, 65, 75 or 77")
    .argument("[file]", "the mail; default or -: standard input")
    .addOption(new Option("-c, --config <file>", "config file").makeOptionMandatory())
    .addHelpText(
      "after",
      '\nExample of an alias:\n  pgp-public-keys: "|/usr/bin/kxgw ingest -c /etc/kxgw/kxgw.toml"',
    )
    .action(async (file: string | undefined, { config }: { config: string }) => {
      const { ingestCommand } = await import("./ingest.js");
      process.exitCode = await ingestCommand(config, file, out, process.env);
    });
}

function addLog(program: Command, out: Output): void {
  program
    .command("log")
    .description("print the update log, oldest first")
    .addOption(configOption())
    .option("--json", "print one JSON object per line")
    .addHelpText("after", "\nExample:\n  kxgw log -c /etc/kxgw/kxgw.toml --json | tail -1")
    .action(async ({ config, json }: { config: string; json?: boolean }) => {
      const { logCommand } = await import("./log.js");
      process.exitCode = await logCommand(config, { json: json === true }, out, process.env);
    });

  const db = program
    .command("db")
    .description("check and back up the update log, or move it into a shared database");

  db.command("check")
    .description("check the integrity of the update log; exits 0 or 74")
    .addOption(configOption())
    .addHelpText("after", "\nExample:\n  kxgw db check -c /etc/kxgw/kxgw.toml")
    .action(async ({ config }: { config: string }) => {
      const { dbCheckCommand } = await import("./db.js");
      process.exitCode = dbCheckCommand(config, out, process.env);
    });

  db.command("backup")
    .description("copy the update log to a file, also while the gateway runs")
    .argument("<file>", "the copy; it must not exist")
    .addOption(configOption())
    .option("--force", "overwrite an existing file")
    .addHelpText(
      "after",
      "\nExample:\n  kxgw db backup /var/backups/kxgw.db -c /etc/kxgw/kxgw.toml",
    )
    .action(async (file: string, options: { config: string; force?: boolean }) => {
      const { dbBackupCommand } = await import("./db.js");
      const { config, force = false } = options;
      const progress = process.stderr.isTTY === true;
      process.exitCode = await dbBackupCommand(config, file, { force, progress }, out, process.env);
    });

  db.command("move")
    .description("move the log into the database of log.shared, or back, while no gateway runs")
    .addOption(new Option("--to-shared", "from the file into the database").conflicts("toLocal"))
    .option("--to-local", "from the database into the file; other gateways cannot use it any more")
    .addOption(configOption())
    .addHelpText(
      "after",
      `
log.shared must be set for both directions, and all gateways of the site must be stopped.
The file is log.path. A move that was interrupted continues when the same command is run
again. After --to-local, remove log.shared from the config.

Exit codes: 0 moved, 69 a gateway runs or the database does not answer, 74 the file or the
database cannot be used, 78 it is not the log or the database that is wanted.

Example:
  kxgw db move --to-shared -c /etc/kxgw/kxgw.toml`,
    )
    .action(async (options: { config: string; toShared?: true; toLocal?: true }, command) => {
      const { config, toShared, toLocal } = options;
      if (toShared === undefined && toLocal === undefined) {
        command.error("error: give --to-shared or --to-local");
      }
      const { dbMoveCommand } = await import("./db.js");
      const to = toShared === true ? "shared" : "local";
      const progress = process.stderr.isTTY === true;
      process.exitCode = await dbMoveCommand(config, to, { progress }, out, process.env);
    });
}
