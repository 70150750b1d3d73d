/**
 * The operator's commands as commander wants them: names, arguments, options, an example each.
 * What a command does is in its own file, which is loaded when the command is called.
 */
import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import { parseDuration } from "../config/units.js";
import type { RemovalVerb } from "../removal.js";
import { CONFIG_PLACES, configOption } from "./config-option.js";
import type { InitOptions } from "./init.js";
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

/** Adds them to `program`; each sets the exit code of the process. */
export function addOperatorCommands(program: Command, out: Output): void {
  const { env } = process;
  const exit = async (code: number | Promise<number>) => {
    process.exitCode = await code;
  };
  addWatching(program, out, exit);
  addOrders(program, out, exit);
  addRemovals(program, out, exit);
  addFirstSteps(program, out, exit);
  const config = program.command("config").description("what the configuration says, and may say");
  common(config.command("show"), "kxgw config show --origin")
    .description("print every setting in force, without passwords")
    .option("--origin", "say where each comes from: file and line, environment or default")
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
    .description("turn pksd.conf, onak.ini, sksconf + mailsync or hockeypuck.conf into a config")
    .argument("<file...>", "the keyserver's files, or their directory")
    .addOption(
      new Option("--from <keyserver>", "whose files they are; recognised without").choices([
        ...["pksd", "onak", "sks", "hockeypuck"],
      ]),
    )
    .option("-o, --output <file>", "write there, never over a file; standard output without")
    .option("--site <address>", "our mail address; the keyserver's own without")
    .option("--json", "for programs")
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
    .description("say how the gateway is, on one screen; exits 69 while it is down")
    .action(async ({ config, json }: Common) => {
      const { statusCommand } = await import("./status.js");
      await exit(statusCommand(config, { json: json === true }, out, env));
    });
  common(program.command("top"), "kxgw top --interval 5s")
    .description("the status, live; q ends it")
    .addOption(duration("--interval <time>", "how often it is drawn", "1s"))
    .addOption(
      new Option("-n, --count <times>", "end after so many").argParser((text) => natural(text)),
    )
    .action(async (given: Common & { readonly interval: number; readonly count?: number }) => {
      const { topCommand } = await import("./top.js");
      const { config, json, interval, count } = given;
      const options = { json: json === true, intervalMs: interval, count };
      const terminal = { isTTY: process.stdout.isTTY === true, keyboard: process.stdin };
      await exit(topCommand(config, options, out, env, terminal));
    });
  common(program.command("trace"), "kxgw trace 0x7A9F6B5E3C1D2E4F60718293A4B5C6D7E8F90123")
    .description("the journey of an update: how it came in, and what became of it everywhere")
    .argument("<update>", "fingerprint, update hash, Message-ID or number")
    .action(async (question: string, { config, json }: Common) => {
      const { traceCommand } = await import("./trace.js");
      await exit(traceCommand(question, { file: config, json: json === true }, out, env));
    });
  common(program.command("doctor"), "kxgw doctor --online")
    .description("say what is wrong, likeliest first, and what to do; exits 0, 69 or 78")
    .option("--online", "look at DNS, the relay and the peers as well")
    .action(async ({ config, json, online }: Common & { readonly online?: boolean }) => {
      const { doctorCommand } = await import("./doctor.js");
      const options = { json: json === true, online: online === true };
      await exit(doctorCommand(config, options, out, env));
    });
  common(program.command("health"), "kxgw health --wait 10s")
    .description("whether the gateway is up and can take updates; exits 0 or 69")
    .addOption(duration("--wait <time>", "how long to wait for it", "0s"))
    .action(async ({ config, json, wait }: Common & { readonly wait: number }) => {
      const { healthCommand } = await import("./health.js");
      await exit(healthCommand(config, { json: json === true, waitMs: wait }, out, env));
    });
}

function addOrders(program: Command, out: Output, exit: Exit): void {
  const { env } = process;
  const peers = program.command("peers").description("the neighbours: ls, show, pause, ...");
  const peersVerb = (verb: PeersVerb, argument: string, description: string, example: string) => {
    const command = common(peers.command(verb), example).description(description);
    if (argument !== "") command.argument(argument, "the neighbour's name in the config");
    command.action(async (...args: unknown[]) => {
      const { peersCommand } = await import("./peers.js");
      const { config, json } = command.opts<Common>();
      const name = argument === "" ? undefined : String(args[0]);
      await exit(peersCommand(verb, name, { file: config, json: json === true }, out, env));
    });
  };
  peersVerb("ls", "", "all neighbours, a line each", "kxgw peers ls");
  peersVerb("show", "<name>", "one neighbour, closely", "kxgw peers show oldpks");
  peersVerb("pause", "<name>", "send nothing more to it; all is kept", "kxgw peers pause oldpks");
  peersVerb("resume", "<name>", "go on where it was paused", "kxgw peers resume oldpks");
  peersVerb("test", "<name>", "look from here whether it can be reached", "kxgw peers test newks");

  const days = new Option("--days <n>", "by mail: what changed in so many days").argParser(natural);
  const since = new Option("--since <time>", "the same as a duration, as 14d").argParser(span);
  common(program.command("backfill"), "kxgw backfill oldpks --days 14")
    .description("ask a neighbour anew: a KX peer for all it announces, a pksd by mail for LAST")
    .argument("<peer>", "the neighbour's name in the config")
    .addOption(days)
    .addOption(since.conflicts("days"))
    .addOption(duration("--wait <time>", "how long to stay and watch", "60s"))
    .action(async (name: string, given: Common & Backfill) => {
      const { backfillCommand } = await import("./backfill.js");
      const { config: file, json, wait: waitMs, since: ms } = given;
      const sinceMs = given.days === undefined ? ms : given.days * 86_400_000;
      const progress = process.stderr.isTTY === true && json !== true;
      const options = { file, json: json === true, sinceMs, waitMs, progress };
      await exit(backfillCommand(name, options, out, env));
    });

  const queue = program.command("queue").description("what waits for each site: ls, show, ...");
  const queueVerb = (verb: QueueVerb, names: string[], description: string, example: string) => {
    const command = common(queue.command(verb), example).description(description);
    for (const name of names) command.argument(name);
    command.action(async (...args: unknown[]) => {
      const { queueCommand } = await import("./queue.js");
      const { config, json } = command.opts<Common>();
      const given = args
        .slice(0, names.length)
        .flatMap((one) => (one === undefined ? [] : [String(one)]));
      await exit(queueCommand(verb, given, { file: config, json: json === true }, out, env));
    });
  };
  queueVerb("ls", ["[site]"], "updates that wait, a line each", "kxgw queue ls oldpks");
  queueVerb("show", ["<number>"], "one of them, closely", "kxgw queue show 1204");
  queueVerb("retry", ["<site>"], "try now what was put off", "kxgw queue retry oldpks");
  const skip = "give up the first update of one site, for good";
  queueVerb("skip", ["<site>", "<number>"], skip, "kxgw queue skip oldpks 1204");
}

/** Where a fingerprint may have blanks, the words that it falls into are put together again. */
function addRemovals(program: Command, out: Output, exit: Exit): void {
  const { env } = process;
  const fpr = "7A9F6B5E3C1D2E4F60718293A4B5C6D7E8F90123";
  const about = "of the primary key, whole; never a key ID, nor a subkey's";
  const verb = (name: RemovalVerb, argument: string, description: string, more: string) => {
    const example = `kxgw ${name} ${fpr} ${more}`;
    const command = common(program.command(name), example)
      .description(description)
      .argument(argument, about)
      .option("--reason <text>", "why, for whoever asks later; no names of persons");
    if (name === "block") {
      command
        .option("--until <date>", "when it ends: 2027-01-31 (in UTC) or 2027-01-31T12:00Z")
        .option("--allow-revocation", "an update that is a hard revocation and no more passes");
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
  const block = "take no update of a key, by no way, and let none out; without a key, list them";
  verb("block", "[fingerprint...]", block, '--reason "asked by its owner" --until 2027-01-31');
  verb("unblock", "<fingerprint...>", "take a block back", '--reason "a mistake"');
  const forget = "purge what the log holds of a key; new updates are taken unless it is blocked";
  verb("forget", "<fingerprint...>", forget, '--reason "asked by its owner"').addHelpText(
    "after",
    `
Its bodies, its user id and what is still to be sent go; number and hash of each
update stay for log.remember, so that none comes back as new. Block the key first
if nothing of it may come any more. What other keyservers have they keep.`,
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
    .description("write a first config, from flags or by asking; never over a file")
    .option("-c, --config <file>", "the file to write", CONFIG_PLACES[0])
    .option("--site <address>", "our mail address, which other keyservers write to")
    .option("--contact <address>", "your own mail address")
    .option("--log <file>", "the update log, relative to the config")
    .option("--smtp <endpoint>", "where mail is taken", "127.0.0.1:2525")
    .option("--kx <endpoint>", "where KX is taken", "127.0.0.1:11373")
    .option("--admin <endpoint>", "where the status page is", "127.0.0.1:9627")
    .option("--relay <url>", "mail server that takes ours; found on 127.0.0.1:25 by itself")
    .option("--mail-peer <name=address,ip>", "a site by mail; may be repeated", collect, [])
    .option("--kx-peer <name=host:port>", "a KX peer that we dial; may be repeated", collect, [])
    .option("--local <keyserver>", "beside us: auto, none, sks:/etc/sks, onak:FILE, hkp:URL, ...")
    .option("--observe", "send nothing for now")
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
    .description("seed the log from keyrings, while the gateway is down; mails nobody")
    .argument("<file...>", "keyrings, binary or armored")
    .action(async (files: string[], { config, json }: Common) => {
      const { importCommand } = await import("./import.js");
      const options = { json: json === true, progress: process.stderr.isTTY === true && !json };
      await exit(importCommand(config, files, options, out, env));
    });
  program
    .command("version")
    .description("versions of everything that matters")
    .option("--json", "as JSON")
    .addHelpText("after", "\nExample:\n  kxgw version --json")
    .action(async ({ json }: { readonly json?: boolean }) => {
      const { versionCommand } = await import("./version.js");
      await exit(versionCommand({ json: json === true, places: CONFIG_PLACES }, out));
    });
  program
    .command("completion")
    .description("print the completion of a shell: bash, zsh or fish")
    .argument("<shell>")
    .addHelpText("after", "\nExample:\n  kxgw completion bash > /etc/bash_completion.d/kxgw")
    .action(async (shell: string) => {
      const { completionCommand } = await import("./completion.js");
      await exit(completionCommand(shell, program, out));
    });
}

function common(command: Command, example: string): Command {
  return command
    .addOption(configOption())
    .option("--json", "for programs")
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
  throw new InvalidArgumentError("Write a whole number, 1 or more.");
}
