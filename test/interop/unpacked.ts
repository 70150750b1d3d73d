/**
 * Exim and OpenSMTPD, which cannot be installed beside Postfix: unpacked from their packages, and
 * run in a mount namespace of their own where their users are and their directories are empty ones.
 * Each is given the lines of docs/mail-servers.md that are for it. Needs root, and the right to
 * mount. Retries are short, so that a test need not wait for what an operator would.
 */
import { chownSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { freePort } from "../support/ports.js";
import { until } from "../support/until.js";
import { Daemon, run } from "./daemon.js";
import { unpack } from "./debian.js";

/** What the tests need of a mail server in front of the gateway. */
export interface Front {
  readonly name: string;
  readonly port: number;
  /** How many mails wait in it. */
  held(): number;
  /** Has it try them now. */
  flush(): void;
  log(): string;
  stop(): Promise<void>;
}

/** No user of Debian has it. */
const UID = 64_990;

/** Exim with these lines for its ACL, its router and its transport. */
export async function startExim(
  directory: string,
  { acl, router, transport }: Readonly<Record<"acl" | "router" | "transport", string>>,
): Promise<Front> {
  const version = unpack("exim4-daemon-light", directory);
  const program = join(directory, "usr/sbin/exim4");
  const port = await freePort();
  for (const name of ["spool", "log"]) {
    mkdirSync(join(directory, name));
    chownSync(join(directory, name), UID, UID);
  }
  const config = join(directory, "exim.conf");
  writeFileSync(
    config,
    `exim_path = ${program}
primary_hostname = keys.example.org
spool_directory = ${directory}/spool
log_file_path = ${directory}/log/%slog
daemon_smtp_ports = ${port}
local_interfaces = 127.0.0.1
keep_environment =
tls_advertise_hosts =
domainlist local_domains = keys.example.org
acl_smtp_rcpt = rcpt
begin acl
rcpt:
${acl}
  accept domains = +local_domains
begin routers
${router}
begin transports
${transport}
begin retry
* * F,1h,1s
`,
  );
  const inside = namespace(directory, ["Debian-exim"], []);
  const daemon = new Daemon("unshare", [...inside, program, "-C", config, "-bdf", "-q1h"]);
  const exim = (...args: string[]) =>
    run("nsenter", ["-t", String(daemon.pid), "-m", program, "-C", config, ...args]);
  const log = () =>
    readdirSync(join(directory, "log"))
      .map((name) => readFileSync(join(directory, "log", name), "latin1"))
      .join("") + daemon.output;
  await until(() => isOpen(port), "Exim takes mail", 30_000).catch((error: Error) => {
    throw new Error(log(), { cause: error });
  });
  return {
    name: `Exim ${version}`,
    port,
    held: () => Number(exim("-bpc")),
    flush: () => void exim("-qff"),
    log,
    stop: () => daemon.stop(),
  };
}

/** OpenSMTPD with these rules. */
export async function startOpenSmtpd(directory: string, rules: string): Promise<Front> {
  const version = unpack("opensmtpd", directory);
  const port = await freePort();
  const config = join(directory, "smtpd.conf");
  writeFileSync(config, `listen on 127.0.0.1 port ${port}\n${rules}`);
  const mounts = [
    "for at in /var/spool /var/lib /run /usr/libexec; do mount -t tmpfs none $at; done",
    "mkdir -p /var/lib/opensmtpd/empty /usr/libexec/opensmtpd",
    "mkdir -m 0711 /var/spool/smtpd",
    `cp ${directory}/usr/libexec/opensmtpd/* /usr/libexec/opensmtpd/`,
  ];
  const inside = namespace(directory, ["opensmtpd", "opensmtpq"], mounts);
  const program = join(directory, "usr/sbin/smtpd");
  const daemon = new Daemon("unshare", [...inside, program, "-d", "-f", config]);
  const control = (...args: string[]) => {
    // It wants to be set-gid; having the group is as good.
    const group = ["setpriv", `--regid=${UID + 1}`, "--clear-groups"];
    const smtpctl = join(directory, "usr/sbin/smtpctl");
    return run("nsenter", ["-t", String(daemon.pid), "-m", ...group, smtpctl, ...args]);
  };
  await until(() => isOpen(port), "OpenSMTPD takes mail", 30_000).catch((error: Error) => {
    throw new Error(daemon.output, { cause: error });
  });
  return {
    name: `OpenSMTPD ${version}`,
    port,
    held: () => control("show", "queue").split("\n").length - 1,
    flush: () => {
      // It leaves a host alone for 15 s when that was down, whatever waits.
      const routes = control("show", "routes").matchAll(/^([0-9a-f]+)\. /gm);
      for (const [, route = ""] of routes) control("resume", "route", route);
      control("schedule", "all");
    },
    log: () => daemon.output,
    stop: () => {
      // It takes its time to say goodbye, and holds nothing that anybody wants.
      daemon.signal("SIGKILL");
      return daemon.stop();
    },
  };
}

/** Arguments of unshare, behind which a program follows: with these users, after these commands. */
function namespace(directory: string, users: readonly string[], commands: readonly string[]) {
  const passwd = users.map(
    (name, index) => `${name}:x:${UID + index}:${UID + index}::/:/bin/false`,
  );
  const group = users.map((name, index) => `${name}:x:${UID + index}:`);
  const bind = [["passwd", passwd] as const, ["group", group] as const].map(([name, lines]) => {
    const text = readFileSync(`/etc/${name}`, "utf8");
    writeFileSync(join(directory, name), `${text}${lines.join("\n")}\n`);
    return `mount --bind ${directory}/${name} /etc/${name}`;
  });
  return ["--mount", "sh", "-ec", [...bind, ...commands, 'exec "$@"'].join("\n"), "sh"];
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("data", () => {
      socket.end("QUIT\r\n");
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
