/**
 * SKS as a legacy site of our own. Debian's build looks for etc/sks, var/lib/sks, var/log/sks and
 * var/spool/sks below its base directory. Mail comes in through sks_add_mail, which leaves a file
 * that the server finds within ten seconds; what a user submits over HKP goes out to the sites of
 * the mailsync file.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { chmod, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "../support/ports.js";
import { until } from "../support/until.js";
import { Daemon, run } from "./daemon.js";

export class Sks {
  readonly port: number;
  readonly #directory: string;
  #server: Daemon;
  #recon: Daemon | undefined;

  private constructor(directory: string, port: number) {
    this.#directory = directory;
    this.port = port;
    this.#server = this.#daemon("db");
  }

  /** Starts one on an empty database in `directory`, which is made. */
  static async start(
    directory: string,
    site: {
      readonly from: string;
      readonly mailsync: readonly string[];
      readonly sendmail: string;
      /** Its recon port, and those of other servers on this host that it exchanges with. */
      readonly recon?: {
        readonly port: number;
        readonly partners: readonly number[];
        /** Minutes from one look at a partner to the next. */
        readonly interval: number;
      };
    },
  ): Promise<Sks> {
    const paths = ["etc/sks", "var/log/sks", "var/run/sks", "var/lib/sks/DB", "var/lib/sks/PTree"];
    for (const path of [...paths, "var/lib/sks/www"]) {
      await mkdir(join(directory, path), { recursive: true });
    }
    for (const name of ["messages", "failed_messages"]) {
      const path = join(directory, "var/spool/sks", name);
      await mkdir(path, { recursive: true });
      // The alias pipe that fills it runs as nobody.
      await chmod(path, 0o777);
    }
    const port = await freePort();
    const config = `hostname: sks.example.net
hkp_address: 127.0.0.1
hkp_port: ${port}
recon_address: 127.0.0.1
recon_port: ${site.recon?.port ?? (await freePort())}
gossip_interval: ${site.recon?.interval ?? 60}
from_addr: ${site.from}
sendmail_cmd: ${site.sendmail} -t -oi
pagesize: 16
ptree_pagesize: 16
`;
    writeFileSync(join(directory, "etc/sks/sksconf"), config);
    writeFileSync(join(directory, "etc/sks/mailsync"), site.mailsync.join("\n").concat("\n"));
    const members = (site.recon?.partners ?? []).map((partner) => `127.0.0.1 ${partner}\n`);
    writeFileSync(join(directory, "etc/sks/membership"), members.join(""));
    const sks = new Sks(directory, port);
    await until(() => sks.#answers(), "SKS answers", 30_000);
    if (site.recon !== undefined) sks.startRecon();
    return sks;
  }

  /** Starts `sks recon`, which listens when it has read the database. */
  startRecon(): void {
    this.#recon = this.#daemon("recon");
  }

  async stopRecon(): Promise<void> {
    await this.#recon?.stop();
    this.#recon = undefined;
  }

  /** Ends it by a signal and starts it again. */
  async restart(): Promise<void> {
    await this.stop();
    this.#server = this.#daemon("db");
    await until(() => this.#answers(), "SKS answers", 30_000);
    this.startRecon();
  }

  /** Where it looks for mails, for an SKS in `directory`. */
  static messages(directory: string): string {
    return join(directory, "var/spool/sks/messages");
  }

  /** What an alias pipes mail into, for an SKS in `directory`. */
  static pipe(directory: string): string {
    return `/usr/lib/sks/sks_add_mail ${directory}/var/spool/sks`;
  }

  /** The armored key that it serves over HKP, undefined when it has none. */
  async get(fingerprint: string): Promise<string | undefined> {
    const answer = await fetch(
      `http://127.0.0.1:${this.port}/pks/lookup?op=get&options=mr&search=0x${fingerprint}`,
    );
    const text = await answer.text();
    return text.includes("BEGIN PGP PUBLIC KEY BLOCK") ? text : undefined;
  }

  /** Submits a key as a user's browser does. */
  async add(armored: string): Promise<Response> {
    const body = new URLSearchParams({ keytext: armored });
    return await fetch(`http://127.0.0.1:${this.port}/pks/add`, { method: "POST", body });
  }

  /** Writes all keys into files in `directory`, by `sks dump`, for which the server stops. */
  async dump(directory: string): Promise<void> {
    await this.#server.stop();
    run("/usr/sbin/sks", ["dump", "1000", directory, "-basedir", this.#directory]);
    this.#server = this.#daemon("db");
    await until(() => this.#answers(), "SKS answers", 30_000);
  }

  /** Mails that it could not use. */
  failed(): string[] {
    return readdirSync(join(this.#directory, "var/spool/sks/failed_messages"));
  }

  log(): string {
    return readFileSync(join(this.#directory, "var/log/sks/db.log"), "latin1");
  }

  async stop(): Promise<void> {
    await this.stopRecon();
    await this.#server.stop();
  }

  #daemon(part: "db" | "recon"): Daemon {
    const args = [part, "-basedir", this.#directory];
    return new Daemon("/usr/sbin/sks", args, { cwd: this.#directory });
  }

  async #answers(): Promise<boolean> {
    const { status } = await fetch(`http://127.0.0.1:${this.port}/`);
    return status > 0;
  }
}
