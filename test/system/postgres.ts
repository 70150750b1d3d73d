/**
 * A private PostgreSQL server for the tests: the newest that Debian has installed, with its data in
 * a temporary directory, on a free port of 127.0.0.1. PostgreSQL refuses to run as root; there it
 * runs as the user `postgres` of its package. Nothing of it is left after the test.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../support/ports.js";

/**
 * One directory for each version that is installed. `POSTGRES_BIN` is a directory with the `initdb`
 * and `postgres` of a version that Debian does not have; the other programs are Debian's.
 */
const VERSIONS = "/usr/lib/postgresql";
const USER = "postgres";
/** The superuser and the database of the tests; any password is accepted (`trust`). */
const OWNER = "kxgw";
/** A start takes half a second; recovery after a kill, on a slow disk, takes some more. */
const START_MS = 30_000;

export interface PostgresOptions {
  /** Lines for postgresql.conf beyond the address, as `max_connections = 20`. */
  readonly settings?: readonly string[];
}

export class Postgres {
  readonly port: number;
  /** The data directory; the file `log` beside it has what the server said. */
  readonly directory: string;
  readonly #settings: readonly string[];
  #process: ChildProcess | undefined;

  private constructor(directory: string, port: number, settings: readonly string[]) {
    this.directory = directory;
    this.port = port;
    this.#settings = settings;
  }

  /** Makes a new server and starts it; it has an empty database `kxgw`. */
  static async start({ settings = [] }: PostgresOptions = {}): Promise<Postgres> {
    const top = mkdtempSync(join(tmpdir(), "kxgw-postgres-"));
    const { uid, gid } = owner();
    if (uid !== undefined && gid !== undefined) chownSync(top, uid, gid);
    const server = new Postgres(join(top, "data"), await freePort(), settings);
    try {
      const init = ["-D", server.directory, "-U", OWNER, "-A", "trust", "-E", "UTF8", "--no-sync"];
      execFileSync(program("initdb"), [...init, "--no-locale"], { ...owner(), stdio: "ignore" });
      await server.#run();
      server.sql(`CREATE DATABASE ${OWNER}`, "postgres");
      return server;
    } catch (error) {
      await server.remove();
      throw error;
    }
  }

  /** A standby of a running server, which knows it as `name`; it is up when this resolves. */
  static async standbyOf(primary: Postgres, name: string): Promise<Postgres> {
    const top = mkdtempSync(join(tmpdir(), "kxgw-postgres-"));
    const { uid, gid } = owner();
    if (uid !== undefined && gid !== undefined) chownSync(top, uid, gid);
    const standby = new Postgres(join(top, "data"), await freePort(), primary.#settings);
    try {
      const from = `host=127.0.0.1 port=${primary.port} user=${OWNER} application_name=${name}`;
      const how = ["-D", standby.directory, "-d", from, "-R", "-X", "stream", "-c", "fast"];
      execFileSync(program("pg_basebackup"), [...how, "--no-sync"], {
        ...owner(),
        stdio: "ignore",
      });
      await standby.#run();
      return standby;
    } catch (error) {
      await standby.remove();
      throw error;
    }
  }

  /** A URL for `[log] shared`. */
  get url(): string {
    return `postgres://${OWNER}@127.0.0.1:${this.port}/${OWNER}`;
  }

  /** Whether the server runs. */
  get isRunning(): boolean {
    return this.#process !== undefined;
  }

  /** Starts the server again after `stop` or `kill`. */
  async restart(): Promise<void> {
    await this.stop();
    await this.#run();
  }

  /** Ends the server; its sessions are cut, and what was committed stays. */
  async stop(): Promise<void> {
    await this.#end("SIGINT");
  }

  /** Ends the server as a power cut does, without a checkpoint. */
  async kill(): Promise<void> {
    await this.#end("SIGQUIT");
  }

  /** Stops the server, if it runs, and deletes all of it. */
  async remove(): Promise<void> {
    await this.#end("SIGQUIT");
    rmSync(join(this.directory, ".."), { recursive: true, force: true });
  }

  /** Runs statements by psql; returns the rows as lines, columns separated by `|`. */
  sql(text: string, database = OWNER): string {
    const how = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"];
    const where = ["-h", "127.0.0.1", "-p", String(this.port), "-U", OWNER, "-d", database];
    return execFileSync(program("psql"), [...how, ...where, "-c", text], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    }).trim();
  }

  /** Writes a dump of the database into a file, as an operator does. */
  dump(file: string): void {
    this.#command("pg_dump", "--format=custom", `--file=${file}`, `--dbname=${this.url}`);
  }

  /** Restores a dump into a new database of that name; returns its URL. */
  restore(file: string, database: string): string {
    const url = this.url.replace(/[^/]*$/, database);
    this.sql(`CREATE DATABASE ${database} ENCODING 'UTF8' TEMPLATE template0`, "postgres");
    this.#command("pg_restore", "--no-owner", `--role=${OWNER}`, `--dbname=${url}`, file);
    return url;
  }

  #command(name: string, ...args: readonly string[]): void {
    execFileSync(program(name), args, { stdio: ["ignore", "ignore", "pipe"] });
  }

  async #run(): Promise<void> {
    const all = [
      "listen_addresses = 127.0.0.1",
      `port = ${this.port}`,
      "unix_socket_directories = ",
      "logging_collector = off",
      ...this.#settings,
    ];
    const flags = all.flatMap((line) => ["-c", line.replace(/ *= */, "=")]);
    const child = spawn(program("postgres"), ["-D", this.directory, ...flags], {
      ...owner(),
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#process = child;
    let said = "";
    child.stderr.on("data", (data) => {
      said = `${said}${data}`.slice(-10_000);
    });
    child.once("exit", () => {
      if (this.#process === child) this.#process = undefined;
    });
    const until = Date.now() + START_MS;
    while (!/ready to accept (read.only )?connections/.test(said)) {
      if (!this.isRunning) throw new Error(`PostgreSQL ended at its start:\n${said}`);
      if (Date.now() > until) throw new Error(`PostgreSQL does not start:\n${said}`);
      await sleep(20);
    }
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    if (child === undefined) return;
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
    this.#process = undefined;
  }
}

/** The user that the server runs as, where it must not be our own. */
function owner(): { readonly uid?: number; readonly gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const line = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .find((one) => one.startsWith(`${USER}:`));
  if (line === undefined) throw new Error(`there is no user ${USER}`);
  const [, , uid, gid] = line.split(":");
  return { uid: Number(uid), gid: Number(gid) };
}

/** The path of a program: that of `POSTGRES_BIN`, or of the newest version. */
function program(name: string): string {
  const own = join(process.env.POSTGRES_BIN ?? "", name);
  if (process.env.POSTGRES_BIN !== undefined && existsSync(own)) return own;
  const versions = existsSync(VERSIONS) ? readdirSync(VERSIONS) : [];
  const newest = versions.map(Number).sort((a, b) => b - a)[0];
  return join(VERSIONS, String(newest), "bin", name);
}
