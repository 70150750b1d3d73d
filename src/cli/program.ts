/**
 * The commands as commander wants them: names, arguments, options, an example each, the operator's
 * from a file of their own. The completion, the man page and `--help` are made of this table. A
 * command is loaded when it is called, so that `kxgw hash` does not wait for the mail libraries.
 */
import { Command, Option } from "commander";
import { EXIT } from "../errors.js";
import { VERSION } from "../version.js";
import { configOption } from "./config-option.js";
import type { DemoOptions } from "./demo.js";
import { addOperatorCommands } from "./operator-commands.js";
import type { Output } from "./output.js";

/** Every command of ours; each writes to `out` and sets the exit code of the process. */
export function programOf(out: Output): Command {
  const program = new Command("kxgw")
    .description("Gateway between the mail synchronisation of OpenPGP keyservers and KX.")
    .version(VERSION)
    .exitOverride()
    .showSuggestionAfterError()
    .addHelpText(
      "after",
      "\nExample:\n  kxgw demo\n\nEach command has an example: kxgw help check",
    );

  addGateway(program, out);
  addMaterial(program, out);
  addLog(program, out);
  addOperatorCommands(program, out);
  return program;
}

function addGateway(program: Command, out: Output): void {
  program
    .command("serve")
    .description("run the gateway in the foreground; SIGTERM ends it")
    .option("-c, --config <file>", "the config file; without one an embedded default on loopback")
    .addHelpText("after", "\nExample:\n  kxgw serve -c /etc/kxgw/kxgw.toml")
    .action(async ({ config }: { config?: string }) => {
      const { serveCommand } = await import("./serve.js");
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
      const { checkCommand } = await import("./check.js");
      process.exitCode = checkCommand(config, heard, process.env);
      if (online !== true || process.exitCode !== EXIT.ok) return;
      const { onlineCommand } = await import("./online.js");
      process.exitCode = await onlineCommand(config, heard, process.env);
    });

  program
    .command("demo")
    .description("two gateways and two small mail sites on loopback, real keys from end to end")
    .option("--json", "print the result as JSON")
    .option("--smtp <host:port>", "start nothing: mail the keys to a gateway that runs there")
    .option("--site <address>", "its address")
    .option("--keyserver <url>", "look for the keys in the keyserver at the other end")
    .addHelpText("after", "\nExample:\n  kxgw demo --json | jq .milliseconds.median")
    .action(async (options: Partial<DemoOptions>) => {
      const { json = false, smtp, site, keyserver } = options;
      const { demoCommand } = await import("./demo.js");
      process.exitCode = await demoCommand({ json, smtp, site, keyserver }, out);
    });
}

/** What takes keys and mails rather than a gateway. */
function addMaterial(program: Command, out: Output): void {
  program
    .command("hash")
    .description("print FINGERPRINT and update hash of every key in files or on stdin")
    .argument("[file...]", "armored or binary, any number of keys")
    .addHelpText("after", "\nExample:\n  gpg --export 0x1234 | kxgw hash")
    .action(async (files: string[]) => {
      const { hashCommand } = await import("./hash.js");
      process.exitCode = await hashCommand(files, process.stdin, out);
    });

  program
    .command("ingest")
    .description("hand a mail from an alias pipe to the running gateway; exits 0, 65, 75 or 77")
    .argument("[file]", "the mail; standard input without one or with -")
    .addOption(new Option("-c, --config <file>", "the config file").makeOptionMandatory())
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
    .option("--json", "one JSON object a line")
    .addHelpText("after", "\nExample:\n  kxgw log -c /etc/kxgw/kxgw.toml --json | tail -1")
    .action(async ({ config, json }: { config: string; json?: boolean }) => {
      const { logCommand } = await import("./log.js");
      process.exitCode = await logCommand(config, { json: json === true }, out, process.env);
    });

  const db = program
    .command("db")
    .description("look after the update log, beside a gateway or not");

  db.command("check")
    .description("say whether the update log is sound; exits 0 or 74")
    .addOption(configOption())
    .addHelpText("after", "\nExample:\n  kxgw db check -c /etc/kxgw/kxgw.toml")
    .action(async ({ config }: { config: string }) => {
      const { dbCheckCommand } = await import("./db.js");
      process.exitCode = dbCheckCommand(config, out, process.env);
    });

  db.command("backup")
    .description("copy the update log to a file, also while the gateway runs")
    .argument("<file>", "the copy; must not be there yet")
    .addOption(configOption())
    .option("--force", "replace the file when it is there")
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
}
