/**
 * The operator's commands for commander: names, arguments, options and an example each.
 * Each command has its own file, which is loaded when the command is called.
 */
import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import { parseDuration } from "../config/units.js";
import type { RemovalVerb } from "../removal.js";
import { CONFIG_PLACES, configOption } from "./config-option.js";
import type { ConformOptions } from "./conform.js";
import type { InitOptions } from "./init-text.js";
import type { Output } from "./output.js";
import type { PeersVerb } from "./peers.js";
import type { QueueVerb } from "./queue.js";

interface Common {
  readonly config: string;
  readonly json?: boolean;
}

interface Backfill {
  readonly days?: number;
  readonly since?: number;
  readonly wait: number;
}

/** Adds the commands to `program`. Each one sets the exit code of the process. */
export function addOperatorCommands(program: Command, out: Output): void {
  const { env } = process;
  const exit = async (code: number | Promise<number>) => {
    process.exitCode = await code;
  };
  addWatching(program, out, exit);
  addOrders(program, out, exit);
  addRemovals(program, out, exit);
  addFirstSteps(program, out, exit);
  addConform(program, out, exit);
  const config = program.command("config").description("show, describe and migrate configurations");
  common(config.command("show"), "kxgw config show --origin")
    .description("print all settings in force, without passwords")
    .option("--origin", "show the origin of each setting: file and line, environment or default")
    .action(async (given: Common & { readonly origin?: boolean }) => {
      const { configShowCommand } = await import("./config-show.js");
      const options = { json: given.json === true, origin: given.origin === true };
      await exit(configShowCommand(given.config, options, out, env));
    });
  config
    .command("schema")
    .description("print the JSON schema of the config file, for editors")
    .addHelpText("after", "\nExample:\n  kxgw config schema > /etc/kxgw/kxgw.schema.json")
    .action(async () => {
      const { configSchemaCommand } = await import("./config-show.js");
      await exit(configSchemaCommand(out));
    });
  addMigrate(config, out, exit);
}

function addMigrate(config: Command, out: Output, exit: Exit): void {
  config
    .command("migrate")
    .description(
      "convert pksd.conf, onak.ini, sksconf and mailsync, or hockeypuck.conf to a config",
    )
    .argument("<file...>", "files of the keyserver, or their directory")
    .addOption(
      new Option("--from <keyserver>", "kind of keyserver; default: detected").choices([
        ...["pksd", "onak", "sks", "hockeypuck"],
      ]),
    )
    .option("-o, --output <file>", "file to write, must not exist; default: standard output")
    .option(
      "--site <address>",
      "mail address of the gateway; default: the address of the keyserver",
    )
    .option("--json", "print JSON")
    .addHelpText("after", "\nExample:\n  kxgw config migrate /etc/sks -o kxgw.toml")
    .action(async (files: string[], given: Record<string, unknown>) => {
      const { migrateCommand } = await import("./migrate.js");
      const word = (name: string) => (given[name] === undefined ? undefined : String(given[name]));
      const [from, output, site] = [word("from"), word("output"), word("site")];
      await exit(migrateCommand(files, { from, output, site, json: given.json === true }, out));
    });
}

type Exit = (code: number | Promise<number>) => Promise<void>;

function addWatching(program: Command, out: Output, exit: Exit): void {
  const { env } = process;
  common(program.command("status"), "kxgw status -c /etc/kxgw/kxgw.toml")
    .description("show the state of the gateway on one screen; exits 69 if it does not run")
    .action(async ({ config, json }: Common) => {
      const { statusCommand } = await import("./status.js");
      await exit(statusCommand(config, { json: json === true }, out, env));
    });
  common(program.command("top"), "kxgw top --interval 5s")
    .description("show the status continuously; q quits; without a terminal, once")
    .addOption(duration("--interval <time>", "refresh interval", "1s"))
    .addOption(
      new Option("-n, --count <times>", "exit after this many refreshes").argParser((text) =>
        natural(text),
      ),
    )
    .action(async (given: Common & { readonly interval: number; readonly count?: number }) => {
      const { topCommand } = await import("./top.js");
      const { config, json, interval, count } = given;
      const options = { json: json === true, intervalMs: interval, count };
      const { stdin: keyboard, stdout: screen } = process;
      const terminal = { isTTY: screen.isTTY === true, keyboard, screen };
      await exit(topCommand(config, options, out, env, terminal));
    });
  common(program.command("trace"), "kxgw trace 0x7A9F6B5E3C1D2E4F60718293A4B5C6D7E8F90123")
    .description("trace an update: how it was received, and its state at each neighbour")
    .argument("<update>", "fingerprint, update hash, Message-ID or number")
    .action(async (question: string, { config, json }: Common) => {
      const { traceCommand } = await import("./trace.js");
      await exit(traceCommand(question, { file: config, json: json === true }, out, env));
    });
  common(program.command("doctor"), "kxgw doctor --online")
    .description("find problems and suggest remedies, likeliest cause first; exits 0, 69 or 78")
    .option("--online", "also check DNS, the relay and the peers")
    .action(async ({ config, json, online }: Common & { readonly online?: boolean }) => {
      const { doctorCommand } = await import("./doctor.js");
      const options = { json: json === true, online: online === true };
      await exit(doctorCommand(config, options, out, env));
    });
  common(program.command("health"), "kxgw health --wait 10s")
    .description("check that the gateway runs and can accept updates; exits 0 or 69")
    .addOption(duration("--wait <time>", "how long to wait until it is ready", "0s"))
    .action(async ({ config, json, wait }: Common & { readonly wait: number }) => {
      const { healthCommand } = await import("./health.js");
      await exit(healthCommand(config, { json: json === true, waitMs: wait }, out, env));
    });
}

function addOrders(program: Command, out: Output, exit: Exit): void {
  const { env } = process;
  const peers = program
    .command("peers")
    .description("list, show, pause, resume and test neighbours");
  const peersVerb = (verb: PeersVerb, argument: string, description: string, example: string) => {
    const command = common(peers.command(verb), example).description(description);
    if (argument !== "")
      command.argument(argument, "name of the neighbour in the config, or [local]");
    command.action(async (...args: unknown[]) => {
      const { peersCommand } = await import("./peers.js");
      const { config, json } = command.opts<Common>();
      const name = argument === "" ? undefined : String(args[0]);
      await exit(peersCommand(verb, name, { file: config, json: json === true }, out, env));
    });
  };
  peersVerb("ls", "", "list all neighbours", "kxgw peers ls");
  peersVerb("show", "<name>", "show one neighbour in detail", "kxgw peers show oldpks");
  peersVerb(
    "pause",
    "<name>",
    "stop sending to it; its updates are kept",
    "kxgw peers pause oldpks",
  );
  peersVerb("resume", "<name>", "continue after a pause", "kxgw peers resume oldpks");
  peersVerb("test", "<name>", "check that it can be reached from here", "kxgw peers test newks");

  const days = new Option("--days <n>", "by mail: ask for changes of this many days").argParser(
    natural,
  );
  const since = new Option("--since <time>", "the same as a duration, for example 14d").argParser(
    span,
  );
  common(program.command("backfill"), "kxgw backfill oldpks --days 14")
    .description("ask a neighbour for updates again: all announcements by KX, or LAST by mail")
    .argument("<peer>", "name of the neighbour in the config")
    .addOption(days)
    .addOption(since.conflicts("days"))
    .addOption(duration("--wait <time>", "how long to wait for the result", "60s"))
    .action(async (name: string, given: Common & Backfill) => {
      const { backfillCommand } = await import("./backfill.js");
      const { config: file, json, wait: waitMs, since: ms } = given;
      const sinceMs = given.days === undefined ? ms : given.days * 86_400_000;
      const progress = process.stderr.isTTY === true && json !== true;
      const options = { file, json: json === true, sinceMs, waitMs, progress };
      await exit(backfillCommand(name, options, out, env));
    });

  addReconcile(program, out, exit);

  const queue = program.command("queue").description("list, show, retry and skip updates");
  const queueVerb = (verb: QueueVerb, names: string[], description: string, example: string) => {
    const command = common(queue.command(verb), example).description(description);
    for (const name of names) command.argument(name);
    command.action(async (...args: unknown[]) => {
      const { queueCommand } = await import("./queue.js");
      const { config, json, counts } = command.opts<Common & { readonly counts?: boolean }>();
      const given = args
        .slice(0, names.length)
        .flatMap((one) => (one === undefined ? [] : [String(one)]));
      const options = { file: config, json: json === true, counts: counts === true };
      await exit(queueCommand(verb, given, options, out, env));
    });
    return command;
  };
  const list = "list the updates that wait, and those that were refused or withheld";
  queueVerb("ls", ["[site]"], list, "kxgw queue ls oldpks").option(
    "--counts",
    "print only how many there are, by state and reason",
  );
  queueVerb("show", ["<number>"], "show one update in detail", "kxgw queue show 1204");
  const retry = "start the next attempt now, or send again one update or all that was not taken";
  queueVerb("retry", ["<site>", "[number|all]"], retry, "kxgw queue retry oldpks all");
  const skip = "give up the first update of a site, or one that waits, until its key comes again";
  queueVerb("skip", ["<site>", "<number>"], skip, "kxgw queue skip oldpks 1204");
}

function addReconcile(program: Command, out: Output, exit: Exit): void {
  const { env } = process;
  common(program.command("reconcile"), "kxgw reconcile newks --dry-run")
    .description("compare all keys with a KX peer and fetch what differs; exits 0, 69 or 75")
    .argument("<peer>", "name of the neighbour in the config")
    .option("--dry-run", "compare only; needs no repair address of the peer")
    .addOption(duration("--wait <time>", "how long to wait for the result", "10m"))
    .action(async (name: string, given: Common & { dryRun?: boolean; wait: number }) => {
      const { reconcileCommand } = await import("./reconcile.js");
      const { config: file, json = false, dryRun = false, wait: waitMs } = given;
      const progress = process.stderr.isTTY === true && !json;
      await exit(reconcileCommand(name, { file, json, dryRun, waitMs, progress }, out, env));
    });
  const index = program.command("index").description("make and show the index of all keys");
  common(index.command("build"), "kxgw index build /var/lib/sks/dump/*.pgp")
    .description("make the key index from dumps, while the gateway may run; exits 0, 65 or 66")
    .argument("<dump...>", "dumps of SKS, Hockeypuck, onak or pksd, binary or armored")
    .action(async (dumps: string[], { config: file, json = false }: Common) => {
      const { indexBuildCommand } = await import("./key-index.js");
      const progress = process.stderr.isTTY === true && !json;
      await exit(indexBuildCommand(dumps, { file, json, progress }, out, env));
    });
  common(index.command("status"), "kxgw index status")
    .description("show how many keys the index has, and how old it is; exits 69 without an index")
    .action(async ({ config: file, json = false }: Common) => {
      const { indexStatusCommand } = await import("./key-index.js");
      await exit(indexStatusCommand({ file, json }, out, env));
    });
}

/** A fingerprint may contain blanks: the shell passes it as several words, which are joined. */
function addRemovals(program: Command, out: Output, exit: Exit): void {
  const { env } = process;
  const fpr = "7A9F6B5E3C1D2E4F60718293A4B5C6D7E8F90123";
  const about = "full fingerprint of the primary key, not a key ID and not that of a subkey";
  const verb = (name: RemovalVerb, argument: string, description: string, more: string) => {
    const example = `kxgw ${name} ${fpr} ${more}`;
    const command = common(program.command(name), example)
      .description(description)
      .argument(argument, about)
      .option("--reason <text>", "reason, shown in lists; do not name persons");
    if (name === "block") {
      command
        .option("--until <date>", "end of the block: 2027-01-31 (UTC) or 2027-01-31T12:00Z")
        .option("--allow-revocation", "let updates pass that contain only a hard revocation");
    }
    command.action(async (words: string[]) => {
      const { removalCommand } = await import("./removal.js");
      const given = command.opts<Common & RemovalFlags>();
      const { config: file, json = false, reason, until, allowRevocation = false } = given;
      const options = { file, json, reason, until, allowRevocation };
      await exit(removalCommand(name, words, options, out, env));
    });
    return command;
  };
  const block = "refuse and withhold all updates of a key; without a key: list the blocks";
  verb("block", "[fingerprint...]", block, '--reason "asked by its owner" --until 2027-01-31');
  verb("unblock", "<fingerprint...>", "remove the block of a key", '--reason "a mistake"');
  const forget =
    "delete what the log holds of a key; new updates are accepted unless it is blocked";
  verb("forget", "<fingerprint...>", forget, '--reason "asked by its owner"').addHelpText(
    "after",
    `
Bodies and user id of the key are deleted, and waiting updates are not sent. Number
and hash of each update are kept for log.remember, so that it is not accepted again.
To refuse future updates, block the key first. Other keyservers are not affected.`,
  );
}

interface RemovalFlags {
  readonly reason?: string;
  readonly until?: string;
  readonly allowRevocation?: boolean;
}

function addFirstSteps(program: Command, out: Output, exit: Exit): void {
  const { env } = process;
  const collect = (text: string, all: string[]) => [...all, text];
  program
    .command("init")
    .description("write a new config from options or from answers; never overwrites a file")
    .option("-c, --config <file>", "file to write", CONFIG_PLACES[0])
    .option("--site <address>", "mail address of the gateway, to which other keyservers send")
    .option("--contact <address>", "mail address of the operator")
    .option("--log <file>", "update log, relative to the config")
    .option("--smtp <endpoint>", "address for incoming mail", "127.0.0.1:2525")
    .option("--kx <endpoint>", "address for incoming KX connections", "127.0.0.1:11373")
    .option("--admin <endpoint>", "address of the status page", "127.0.0.1:9627")
    .option("--relay <url>", "mail server for outgoing mail; default: 127.0.0.1:25 if it answers")
    .option("--mail-peer <name=address,ip>", "site that receives mail; repeatable", collect, [])
    .option("--kx-peer <name=host:port>", "KX peer to dial; repeatable", collect, [])
    .option(
      "--local <keyserver>",
      "local keyserver: auto, none, sks:/etc/sks, onak:FILE, hkp:URL, ...",
    )
    .option("--observe", "start in observe mode: send nothing")
    .addHelpText(
      "after",
      "\nExample:\n  kxgw init --site pgp-public-keys@ks.example.org " +
        "--mail-peer old=pgp-public-keys@pks.example.net,192.0.2.7",
    )
    .action(async (given: Record<string, unknown>) => {
      const { initCommand } = await import("./init.js");
      const { mailPeer, kxPeer, observe, config, ...rest } = given;
      const lists = { mailPeers: mailPeer, kxPeers: kxPeer, observe: observe === true };
      const none = { site: undefined, contact: undefined, log: undefined, local: undefined };
      const options = { ...none, ...rest, ...lists };
      const terminal = process.stdin as NodeJS.ReadStream;
      await exit(
        initCommand(String(config), options as unknown as InitOptions, out, env, terminal),
      );
    });
  common(program.command("import"), "kxgw import /usr/share/keyrings/debian-keyring.gpg")
    .description("import keyrings into the log while the gateway is stopped; sends no mail")
    .argument("<file...>", "keyrings, binary or armored")
    .action(async (files: string[], { config, json }: Common) => {
      const { importCommand } = await import("./import.js");
      const options = { json: json === true, progress: process.stderr.isTTY === true && !json };
      await exit(importCommand(config, files, options, out, env));
    });
  program
    .command("version")
    .description("print the versions of gateway, Node, SQLite and OpenSSL")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExample:\n  kxgw version --json")
    .action(async ({ json }: { readonly json?: boolean }) => {
      const { versionCommand } = await import("./version.js");
      await exit(versionCommand({ json: json === true, places: CONFIG_PLACES }, out));
    });
  program
    .command("completion")
    .description("print the completion script for bash, zsh or fish")
    .argument("<shell>", "bash, zsh or fish; neighbours: the names in the config, for the scripts")
    .addOption(configOption("no names"))
    .addHelpText("after", "\nExample:\n  kxgw completion bash > /etc/bash_completion.d/kxgw")
    .action(async (shell: string, { config }: { readonly config: string }) => {
      const { completionCommand } = await import("./completion.js");
      await exit(completionCommand(shell, program, out, config));
    });
}

function addConform(program: Command, out: Output, exit: Exit): void {
  const collect = (text: string, all: string[]) => [...all, text];
  program
    .command("conform")
    .description("test a KX server rule by rule; exits 0, or 76 if it breaks a rule")
    .argument("[server]", "host:port, or kxs://host:port for TLS")
    .option("--json", "print JSON, with what was said")
    .option("--list", "print the rules and exit")
    .addOption(
      new Option("--only <rule>", "play this rule or group, as list.one or list; repeatable")
        .argParser(collect)
        .default([], "all"),
    )
    .addOption(
      new Option("--kx-version <version>", "highest version whose rules are played").choices([
        "1.0",
        "1.1",
      ]),
    )
    .addOption(duration("--wait <time>", "how long an answer may take", "5s"))
    .option("--slow", "also play the rules that wait for a minute")
    .option("--source <address>", "local address to connect from")
    .option("--send-key <file>", "also send the server this key, which it then passes on")
    .option("--tls-cert <file>", "our certificate, for kxs://")
    .option("--tls-key <file>", "its private key")
    .option("--tls-ca <file>", "CA that signs the certificate of the server")
    .option("--pin <sha256>", "SHA-256 of the certificate of the server")
    .addHelpText("after", CONFORM_HELP)
    .action(async (server: string | undefined, given: Partial<ConformOptions> & ConformFlags) => {
      const { conformCommand } = await import("./conform.js");
      const { json = false, list = false, slow = false, only = [] } = given;
      const { source, sendKey, tlsCert, tlsKey, tlsCa, pin } = given;
      const options: ConformOptions = {
        ...{ json, list, slow, only, source, sendKey, tlsCert, tlsKey, tlsCa, pin },
        old: given.kxVersion === "1.0",
        waitMs: given.wait,
      };
      await exit(conformCommand(server, options, out));
    });
}

interface ConformFlags {
  readonly wait: number;
  readonly kxVersion?: string;
}

const CONFORM_HELP = `
The server must know the address of this host as a peer. Use that peer for the test only:
if a gateway has the same address, the server takes its log for a new one, and lists it
again.

Each rule opens a connection or two, one after the other, and sends a few small
messages: requests, and messages that are malformed or out of sequence. The server
reports these to its operator as complaints about the peer. Its log is read, at most 1001
lines and one update at a time, and not changed: the only update that is announced to it
is its own newest. Only --send-key makes it store something: that key, which then spreads
like any other. A server that reconciles is asked for parts of its key index.

Exit codes: 0 no rule failed, 76 a rule failed, 69 the server cannot be reached or
sends no HELO. A rule that cannot be played is skipped, and the report says why.

Example:
  kxgw conform kx.example.org:11373`;

function common(command: Command, example: string): Command {
  return command
    .addOption(configOption())
    .option("--json", "print JSON")
    .addHelpText("after", `\nExample:\n  ${example}`);
}

function duration(flags: string, description: string, preset: string): Option {
  return new Option(flags, description).argParser(span).default(span(preset), preset);
}

function span(text: string): number {
  const reading = parseDuration(text);
  if ("fault" in reading) throw new InvalidArgumentError(reading.fault);
  return reading.value;
}

function natural(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("Write an integer, 1 or more.");
}
