/**
 * Empty shared databases over a real PostgreSQL, for the tests of the log: schemas of one database,
 * each with a user of the same name and the sessions of two gateways. A session takes a second to
 * get its lease, and a log is opened synchronously; so the sites are made before the tests, and
 * emptied after each test.
 */
import { randomBytes } from "node:crypto";
import pg from "pg";
import { systemClock } from "../../src/clock.js";
import { EXPIRY } from "../../src/cluster/messages.js";
import { PostgresStore } from "../../src/cluster/postgres-store.js";
import type { SharedSite } from "../support/memory-shared.js";
import { until } from "../support/until.js";
import { databaseAt, SITE, WORKER } from "./stage.js";

/** The most logs that one test has. */
const SITES = 4;

interface Schema extends SharedSite {
  readonly name: string;
  readonly first: PostgresStore;
  readonly second: PostgresStore;
}

export class PostgresSites {
  readonly #admin: pg.Client;
  readonly #free: Schema[];
  readonly #used: Schema[] = [];

  private constructor(admin: pg.Client, free: Schema[]) {
    this.#admin = admin;
    this.#free = free;
  }

  /** Makes the sites in the database at `url`, whose user is a superuser without a password. */
  static async open(url: string): Promise<PostgresSites> {
    const admin = new pg.Client(url);
    await admin.connect();
    const prefix = `suite_${randomBytes(6).toString("hex")}`;
    const names = Array.from({ length: SITES }, (_, index) => `${prefix}_${index}`);
    const schemas: Schema[] = [];
    for (const name of names) {
      await admin.query(`CREATE ROLE ${name} LOGIN`);
      await admin.query(`CREATE SCHEMA AUTHORIZATION ${name}`);
      const own = new URL(url);
      own.username = name;
      const [first, second] = [await opened(own.href, "one"), await opened(own.href, "two")];
      first.want([EXPIRY]);
      await until(() => first.expires);
      schemas.push({ name, first, second });
    }
    return new PostgresSites(admin, schemas);
  }

  /** A site without rows. Throws if more are in use than a test may have. */
  take(): SharedSite {
    const site = this.#free.pop();
    if (site === undefined) throw new Error(`a test has more than ${SITES} logs`);
    this.#used.push(site);
    return site;
  }

  /** Empties what was taken since. */
  async release(): Promise<void> {
    for (const site of this.#used.splice(0)) {
      const { name } = site;
      await this.#admin.query(`TRUNCATE ${name}.kxgw_rows, ${name}.kxgw_commits`);
      await this.#admin.query(`UPDATE ${name}.kxgw_head SET position = 0, newest = 0`);
      await this.#admin.query(
        `INSERT INTO ${name}.kxgw_commits (position, mark)
         SELECT position, mark FROM ${name}.kxgw_head`,
      );
      this.#free.push(site);
    }
  }

  /** Ends the sessions, and removes the schemas and their users. */
  async close(): Promise<void> {
    for (const { name, first, second } of [...this.#free, ...this.#used]) {
      await first.close();
      await second.close();
      await this.#admin.query(`DROP OWNED BY ${name}`);
      await this.#admin.query(`DROP ROLE ${name}`);
    }
    await this.#admin.end();
  }
}

function opened(url: string, node: string): Promise<PostgresStore> {
  const settings = { database: databaseAt(url), site: SITE, node, version: "1", worker: WORKER };
  return PostgresStore.open(settings, systemClock);
}
