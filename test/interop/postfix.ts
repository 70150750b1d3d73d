/**
 * A Postfix of our own on a loopback port: config, queue and data in one directory, no chroot, no
 * DNS, and its own copy of postdrop without set-gid, because the installed one trusts no other
 * config. It is the mail exchanger of every domain that it has a route for, and pipes the mail of
 * the aliases into programs, as the neighbours of a keyserver do. Needs root, as Postfix does.
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { chmod, chown } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { freePort } from "../support/ports.js";
import { until } from "../support/until.js";
import { Daemon, run } from "./daemon.js";

const SERVICES = `
pickup    unix  n - n 1     1 pickup
cleanup   unix  n - n -     0 cleanup
qmgr      unix  n - n 300   1 qmgr
rewrite   unix  - - n -     - trivial-rewrite
bounce    unix  - - n -     0 bounce
defer     unix  - - n -     0 bounce
trace     unix  - - n -     0 bounce
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n -     - proxymap
smtp      unix  - - n -     - smtp
relay     unix  - - n -     - smtp
lmtp      unix  - - n -     - lmtp
showq     unix  n - n -     - showq
discard   unix  - - n -     - discard
error     unix  - - n -     - error
retry     unix  - - n -     - error
local     unix  - n n -     - local
anvil     unix  - - n -     1 anvil
scache    unix  - - n -     1 scache
postlog   unix-dgram n - n - 1 postlogd
`;
const PRIVATE = ["active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming"];

/** One delivery as the log tells it. */
export interface Delivery {
  readonly id: string;
  readonly to: string;
  readonly relay: string;
  readonly status: string;
  readonly reply: string;
}

export interface Routes {
  /** Transport by domain: "smtp:[127.0.0.1]:2525" or "lmtp:unix:/path". */
  readonly relay: Readonly<Record<string, string>>;
  /** Command line by address; the local part is the alias. */
  readonly pipes: Readonly<Record<string, string>>;
  /** Lines for the end of main.cf, and of master.cf. */
  readonly main?: string;
  readonly master?: string;
}

export class Postfix {
  readonly port: number;
  readonly #directory: string;
  readonly #master: Daemon;

  private constructor(directory: string, port: number, under: readonly string[]) {
    this.#directory = directory;
    this.port = port;
    const master = ["/usr/lib/postfix/sbin/master", "-c", join(directory, "conf"), "-d"];
    const [program = "", ...args] = [...under, ...master];
    this.#master = new Daemon(program, args);
  }

  /**
   * Starts one in `directory`, which is made, `under` a tracer if need be; resolves when it takes
   * mail.
   */
  static async start(
    directory: string,
    routes: Routes,
    under: readonly string[] = [],
  ): Promise<Postfix> {
    const port = await freePort();
    await layOut(directory);
    writeConfig(directory, port, routes);
    const postfix = new Postfix(directory, port, under);
    await until(() => isOpen(port), "Postfix takes mail", 30_000);
    return postfix;
  }

  /** A sendmail command of this Postfix, for programs that want one, as it is in `directory`. */
  static sendmail(directory: string): string {
    return join(directory, "bin", "sendmail");
  }

  /** One entry for each recipient that still waits. */
  queue(): { readonly id: string; readonly recipient: string; readonly reason: string }[] {
    const listing = run("postqueue", ["-c", join(this.#directory, "conf"), "-j"]);
    return listing
      .split("\n")
      .filter((line) => line !== "")
      .flatMap((line) => {
        const { queue_id: id, recipients } = JSON.parse(line) as QueueEntry;
        return recipients.map(({ address, delay_reason }) => {
          return { id, recipient: address, reason: delay_reason ?? "" };
        });
      });
  }

  /** Tries all that waits now. */
  flush(): void {
    run("postqueue", ["-c", join(this.#directory, "conf"), "-f"]);
  }

  /** How many mails are in it, by its files: asking a Postfix costs it CPU. */
  waiting(): number {
    const queues = ["maildrop", "incoming", "active", "deferred"];
    const files = queues.flatMap((name) => {
      const options = { recursive: true, withFileTypes: true } as const;
      return readdirSync(join(this.#directory, "queue", name), options);
    });
    return files.filter((file) => file.isFile()).length;
  }

  /** Every attempt so far, in order. */
  deliveries(): Delivery[] {
    const lines = this.log().matchAll(
      /\]: (\w+): to=<([^>]*)>,(?: orig_to=<[^>]*>,)? relay=([^,]+),.* status=(\w+) \((.*)\)$/gm,
    );
    return [...lines].map(([, id = "", to = "", relay = "", status = "", reply = ""]) => {
      return { id, to, relay, status, reply };
    });
  }

  log(): string {
    const file = join(this.#directory, "maillog");
    return existsSync(file) ? readFileSync(file, "latin1") : this.#master.output;
  }

  async stop(): Promise<void> {
    await this.#master.stop();
  }
}

interface QueueEntry {
  readonly queue_id: string;
  readonly recipients: readonly { readonly address: string; readonly delay_reason?: string }[];
}

async function layOut(directory: string): Promise<void> {
  const [uid, gid] = ["-u", "-g"].map((what) => Number(run("id", [what, "postfix"])));
  const make = async (path: string, mode: number, owned = true) => {
    mkdirSync(join(directory, path), { recursive: true });
    await chmod(join(directory, path), mode);
    if (owned) await chown(join(directory, path), uid ?? 0, gid ?? 0);
  };
  for (const path of ["", "conf", "bin", "queue", "queue/pid"]) await make(path, 0o755, false);
  for (const name of [...PRIVATE, "private", "saved", "trace"]) await make(`queue/${name}`, 0o700);
  await make("queue/public", 0o755);
  await make("queue/maildrop", 0o1777);
  await make("data", 0o755);
  const bin = join(directory, "bin");
  copyFileSync("/usr/sbin/postdrop", join(bin, "postdrop"));
  await chmod(join(bin, "postdrop"), 0o755);
  const script = `#!/bin/sh\nMAIL_CONFIG=${directory}/conf exec /usr/sbin/sendmail "$@"\n`;
  writeFileSync(join(bin, "sendmail"), script, { mode: 0o755 });
}

function writeConfig(
  directory: string,
  port: number,
  { relay, pipes, main: more = "", master = "" }: Routes,
): void {
  const conf = join(directory, "conf");
  const domains = (addresses: readonly string[]) =>
    [...new Set(addresses.map((address) => address.slice(address.indexOf("@") + 1)))].join(" ");
  const main = `
compatibility_level = 3.6
queue_directory = ${directory}/queue
data_directory = ${directory}/data
command_directory = ${directory}/bin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = ${directory}/maillog
maillog_file_prefixes = ${directory}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
disable_dns_lookups = yes
smtp_host_lookup = native
myhostname = mx.example.net
mynetworks = 127.0.0.0/8
mydestination = ${domains(Object.keys(pipes))}
local_recipient_maps =
alias_maps = texthash:${conf}/aliases
alias_database =
relay_domains = ${Object.keys(relay).join(" ")}
transport_maps = texthash:${conf}/transport
smtpd_recipient_restrictions = permit_mynetworks, reject
# onak-mail.pl leaves a mail in its spool when it is called while another one runs.
local_destination_concurrency_limit = 1
# Short times, so that a test need not wait for what an operator would.
queue_run_delay = 5s
minimal_backoff_time = 2s
maximal_backoff_time = 5s
smtp_connect_timeout = 5s
`;
  writeFileSync(join(conf, "main.cf"), main + more);
  const services = `127.0.0.1:${port} inet n - n - - smtpd${SERVICES}${master}`;
  writeFileSync(join(conf, "master.cf"), services);
  const lines = (entries: [string, string][], separator: string) =>
    entries.map(([name, value]) => `${name}${separator}${value}\n`).join("");
  writeFileSync(join(conf, "transport"), lines(Object.entries(relay), " "));
  const aliases = Object.entries(pipes).map(([address, command]): [string, string] => {
    return [address.slice(0, address.indexOf("@")), `"|${command}"`];
  });
  writeFileSync(join(conf, "aliases"), lines(aliases, " "));
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
