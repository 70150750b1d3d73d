/**
 * The man pages, made of the table of commands and of the schema: what is written by hand here is
 * what neither of them says.
 */
import type { Command, Option } from "commander";
import { programOf } from "../../src/cli/program.js";
import { EXIT } from "../../src/errors.js";
import { VERSION } from "../../src/version.js";
import { bold, example, heading, italic, item, plain, subheading, titleLine } from "./roff.js";
import { allSections, type Key, topKeys } from "./settings.js";

/** The day of this version: a page that took today's would never be up to date. */
const RELEASED = "2026-11-30";

const EXITS: Record<keyof typeof EXIT, string> = {
  ok: "Done, or nothing is wrong.",
  usage: "The command line is wrong, or names a neighbour that is not there.",
  dataError: "What was given cannot be used: no key, a mail that is refused.",
  noInput: "A file, or the update log, is not there.",
  unavailable: "The gateway is down, or something that was asked for cannot be reached.",
  software: "A bug: please report what was printed.",
  cannotCreate: "A file is in the way, or cannot be written.",
  ioError: "The update log is damaged, or a disk fails or is full.",
  tempFail: "Not now, for a reason of ours: the mail server keeps the mail.",
  protocol: "A server broke a rule of the protocol: kxgw conform.",
  noPermission: "The user may not; or the sender of a mail may not.",
  config: "The configuration has faults, each of which was printed.",
};

/** What `kxgw serve` can end with. */
const SERVE_EXITS = [
  "ok",
  "usage",
  "noInput",
  "unavailable",
  "software",
  "ioError",
  "config",
] as const;

const FILES: readonly (readonly [string, string])[] = [
  ["kxgw.toml", "The configuration, in the directory of the caller."],
  ["/etc/kxgw/kxgw.toml", "The configuration that is taken when there is none."],
  ["updates.db", "The update log, beside the configuration unless log.path says otherwise."],
  ["updates.db-wal, updates.db-shm", "Parts of the log while it is open: never remove them."],
  ["updates.db-control", "Where commands speak to the gateway; its own user alone may."],
];

const SIGNALS: readonly (readonly [string, string])[] = [
  ["SIGTERM, SIGINT", "End: what is under way is finished first. A second one ends it at once."],
  ["SIGHUP", "Read the configuration again, and keep the former one if it has a fault."],
];

/** kxgw(1). */
export function commandPage(): string {
  const program = programOf({ stdout: () => {}, stderr: () => {} });
  const commands = leaves(program);
  return [
    titleLine("KXGW", 1, RELEASED, `kxgw ${VERSION}`),
    heading("NAME"),
    "kxgw \\- gateway between the mail synchronisation of OpenPGP keyservers and KX\n",
    heading("SYNOPSIS"),
    `${bold("kxgw")} ${italic("command")} [${italic("option")} ...]\n`,
    heading("DESCRIPTION"),
    plain(
      "kxgw stands beside a keyserver, or is the MX for its mail, and carries updates between " +
        "keyservers that synchronise by mail (pksd, SKS, onak, Hockeypuck) and peers that speak " +
        "KX. kxgw serve is the gateway. The other commands speak to it over a socket beside its " +
        "log, or read the log while it is down; what they print for programs comes with --json.",
    ),
    heading("COMMANDS"),
    ...commands.map(commandPart),
    heading("EXIT STATUS"),
    ...Object.entries(EXITS).map(([name, about]) =>
      item(bold(String(EXIT[name as keyof typeof EXIT])), plain(about)),
    ),
    heading("SIGNALS"),
    ...SIGNALS.map(([name, about]) => item(bold(name), plain(about))),
    heading("ENVIRONMENT"),
    plain(
      "KXGW_MODE, and KXGW_SECTION__KEY for each key of a section, go over the configuration; " +
        "see kxgw.toml(5). Under systemd NOTIFY_SOCKET, WATCHDOG_USEC, LISTEN_FDS, " +
        "LISTEN_FDNAMES and JOURNAL_STREAM have their usual meaning.",
    ),
    heading("FILES"),
    ...FILES.map(([name, about]) => item(italic(name), plain(about))),
    heading("SEE ALSO"),
    `${bold("kxgw-serve")}(8), ${bold("kxgw.toml")}(5), and the pages in docs/ of the package\n`,
  ].join("");
}

/** kxgw-serve(8): the daemon, for who looks for one in section 8. */
export function daemonPage(): string {
  const program = programOf({ stdout: () => {}, stderr: () => {} });
  const serve = program.commands.find((one) => one.name() === "serve");
  if (serve === undefined) throw new Error("there is no command serve");
  return [
    titleLine("KXGW-SERVE", 8, RELEASED, `kxgw ${VERSION}`),
    heading("NAME"),
    "kxgw-serve \\- the daemon of the KX gateway\n",
    heading("SYNOPSIS"),
    `${bold("kxgw serve")} [${bold("-c")} ${italic("file")}]\n`,
    heading("DESCRIPTION"),
    plain(
      "kxgw serve receives updates of OpenPGP keys by mail, HKP, recon and KX, stores each " +
        "of them once in the update log, and passes it on to every neighbour that does not " +
        "have it. It runs in the foreground and writes one line of JSON to standard output " +
        "for each event, or to the journal when systemd started it. It needs no right of " +
        "root: a port below 1024 comes from a socket unit.",
    ),
    heading("OPTIONS"),
    ...serve.options.map((option) => item(bold(option.flags), optionAbout(option))),
    heading("THE SERVICE"),
    plain(
      "kxgw.service runs it as the user kxgw with /etc/kxgw/kxgw.toml. systemctl reload " +
        "checks the configuration and puts it in force. kxgw-smtp.socket hands it port 25 as " +
        "systemd:smtp in smtp.listen; kxgw-lmtp.socket hands it /run/kxgw/lmtp.sock. Commands " +
        "that ask the running gateway have to run as the same user: sudo -u kxgw kxgw status.",
    ),
    heading("SIGNALS"),
    ...SIGNALS.map(([name, about]) => item(bold(name), plain(about))),
    heading("EXIT STATUS"),
    ...SERVE_EXITS.map((name) => item(bold(String(EXIT[name])), plain(EXITS[name]))),
    heading("FILES"),
    ...FILES.map(([name, about]) => item(italic(name), plain(about))),
    heading("EXAMPLES"),
    plain("What kxgw.service runs:"),
    example(exampleOf(serve)),
    heading("SEE ALSO"),
    `${bold("kxgw")}(1), ${bold("kxgw.toml")}(5), ${bold("systemctl")}(1)\n`,
  ].join("");
}

/** Every command that does something, with the names of the groups before it. */
function leaves(command: Command, path = "kxgw"): { path: string; command: Command }[] {
  return command.commands.flatMap((one) => {
    const name = `${path} ${one.name()}`;
    return one.commands.length > 0 ? leaves(one, name) : [{ path: name, command: one }];
  });
}

function commandPart({ path, command }: { path: string; command: Command }): string {
  const args = command.registeredArguments;
  const shown = args.map((one) => {
    const name = `${one.name()}${one.variadic ? "..." : ""}`;
    return one.required ? `<${name}>` : `[${name}]`;
  });
  const about = command.description();
  return [
    subheading([path, ...shown].join(" ")),
    plain(`${about.charAt(0).toUpperCase()}${about.slice(1)}.`),
    ...args.flatMap((one) =>
      one.description === "" ? [] : [item(italic(one.name()), plain(`${one.description}.`))],
    ),
    ...command.options.map((option) => item(bold(option.flags), optionAbout(option))),
    example(exampleOf(command)),
  ].join("");
}

function optionAbout({ description, defaultValue, defaultValueDescription }: Option): string {
  const isNothing =
    defaultValueDescription === undefined &&
    (defaultValue === undefined || (defaultValue as unknown[]).length === 0);
  const preset = defaultValueDescription ?? String(defaultValue);
  return plain(`${description}${isNothing ? "" : ` (without it: ${preset})`}.`);
}

/** What `--help` shows as the example. */
function exampleOf(command: Command): string {
  const parts: string[] = [];
  command.configureOutput({ writeOut: (part) => void parts.push(part) }).outputHelp();
  const [, lines = ""] = parts.join("").split(/\nExample.*:\n/);
  return lines.trimEnd().replaceAll(/^ {2}/gm, "");
}

const TYPES: readonly (readonly [string, string])[] = [
  ["duration", '"500ms", "1s", "10m", "72h", "30d".'],
  ["size", '"2MiB", "128kB", "131072": KiB, MiB, GiB are of 1024, kB, MB, GB of 1000.'],
  ["schedule", '"1m, 5m*2, 1h": a delay for each attempt, the last one for all that follow.'],
  ["rate", '"100/1m": so many in a time.'],
  ["host:port", '"127.0.0.1:25", "[::1]:25"; 0.0.0.0 and [::] stand for all addresses.'],
  ["path", "Relative to the directory of the configuration."],
];

const MINIMAL = `mode = "observe"
[site]
address = "pgp-public-keys@kx.example.org"
[log]
path = "updates.db"
[smtp]
listen = ["127.0.0.1:2525"]
[[peer]]
name = "old"
mail = "pgp-public-keys@pks.example.net"
accept_from = ["192.0.2.0/24"]`;

/** kxgw.toml(5). */
export function settingsPage(): string {
  return [
    titleLine("KXGW.TOML", 5, RELEASED, `kxgw ${VERSION}`),
    heading("NAME"),
    "kxgw.toml \\- configuration of the KX gateway\n",
    heading("DESCRIPTION"),
    plain(
      "TOML. The sections [site] and [log] have to be there; of the others each turns a part of " +
        "the gateway on, but for [policy], whose defaults always hold. kxgw check says every " +
        "fault by line, column and key. SIGHUP puts a changed file in force.",
    ),
    subheading("How values are written"),
    ...TYPES.map(([name, about]) => item(italic(name), plain(about))),
    heading("BEFORE THE FIRST SECTION"),
    ...topKeys().map(keyPart),
    ...allSections().flatMap(({ header, about, keys }) => [
      heading(`"${header}"`),
      plain(about),
      ...keys.map(keyPart),
    ]),
    heading("ENVIRONMENT"),
    plain(
      "KXGW_MODE, and KXGW_SECTION__KEY for each key of a section, as KXGW_LOG__PATH, go over " +
        "the file. A list is separated by commas. Neighbours, and keys inside a table such as " +
        "tls, are written in the file alone. Any other variable that begins with KXGW_ is a fault.",
    ),
    heading("EXAMPLES"),
    plain("A gateway that takes mail of one neighbour, and sends none for now:"),
    example(MINIMAL),
    heading("SEE ALSO"),
    `${bold("kxgw")}(1), ${bold("kxgw-serve")}(8)\n`,
  ].join("");
}

function keyPart({ name, about, type, preset, example: shown, required }: Key): string {
  const value = preset === undefined ? (required ? "required" : "no default") : `default ${preset}`;
  const as = preset === shown || type === "table" ? "" : `; as ${shown}`;
  return item(bold(name), `${plain(about)}(${type}; ${plain(value + as).trimEnd()})\n`);
}
