/**
 * The disk of a simulated gateway: the real log over a real SQLite database in memory, of which a
 * crash leaves what was synced. With synchronous FULL each commit is synced, so a crash loses what
 * was in memory and the transaction that was open; with NORMAL, which only a mutant has, it also
 * loses the commits since the last checkpoint. A full disk is SQLite's own (max_page_count); other
 * I/O errors and crashes in the middle of a commit are put into the one way through which all
 * writing goes.
 */
import Database from "better-sqlite3";
import { Connection, type Writing } from "../../src/log/connection.js";
import { configureWriter } from "../../src/log/schema.js";
import type { SharedStore } from "../../src/log/shared-port.js";
import { UpdateLog } from "../../src/log/update-log.js";
import type { Dice } from "./dice.js";

/** The process dies here and now; whoever runs it catches this, nobody else. */
export class Crash extends Error {}

/** What is to happen to the next transactions. */
export type Ordered = "crash before commit" | "crash after commit" | "io error" | undefined;

export interface StoreOptions {
  /** NORMAL loses what was committed since the last checkpoint. */
  readonly synchronous: "FULL" | "NORMAL";
  /** With NORMAL, commits between two checkpoints. */
  readonly checkpointEvery: number;
}

export const DURABLE: StoreOptions = { synchronous: "FULL", checkpointEvery: 1 };
/** The disk of a copy of a shared log, which may go back to an earlier state. */
export const COPY: StoreOptions = { synchronous: "NORMAL", checkpointEvery: 5 };

/** An empty log, made once: it costs less to copy than to create. */
let template: Buffer | undefined;

export class Store {
  readonly #options: StoreOptions;
  readonly #dice: Dice;
  readonly #logs: number;
  #db: Database.Database;
  #synced: Buffer;
  #commits = 0;
  #ioErrors = 0;
  #order: Ordered;
  #isFull = false;
  #backup: Buffer | undefined;

  /**
   * `image` is a backup that is restored; else the log is empty. `logs` counts those that this
   * gateway had before.
   */
  constructor(dice: Dice, options: StoreOptions = DURABLE, image?: Buffer, logs = 0) {
    this.#options = options;
    this.#dice = dice;
    this.#logs = logs;
    template ??= emptyLog();
    this.#db = opened(image ?? template);
    // The only things in a log that SQLite throws dice for.
    if (image === undefined) {
      const secret = Buffer.from(Array.from({ length: 32 }, () => dice.int(0, 255)));
      this.#db.prepare("UPDATE secret SET bytes = ?").run(secret);
    }
    // A log that is made, and a backup of a log in use, has a name of its own.
    const names = dice.fork(`name ${logs}`);
    const name = Buffer.from(Array.from({ length: 16 }, () => names.int(0, 255)));
    this.#db.prepare("UPDATE log_name SET name = ?").run(name);
    this.#synced = options.synchronous === "FULL" ? template : this.#db.serialize();
  }

  get hasBackup(): boolean {
    return this.#backup !== undefined;
  }

  /** Makes a backup of the log, as it is between two transactions. */
  backUp(): void {
    this.#backup = this.#db.serialize();
  }

  /** A disk with the backup in the place of this one. */
  restored(): Store {
    this.close();
    return new Store(this.#dice, this.#options, this.#backup, this.#logs + 1);
  }

  /** The log as a process that starts now finds it; with `shared` a copy of the log there. */
  open(shared?: SharedStore): UpdateLog {
    const connection: Connection = Reflect.construct(Connection, [this.#db, ":memory:", undefined]);
    const write = connection.write.bind(connection);
    let depth = 0;
    const through = <T>(work: () => T, how?: Writing): T => {
      if (depth > 0) return write(work, how);
      depth += 1;
      try {
        const order = this.#takeOrder();
        const result = write(() => {
          // Every other time at the commit, when the work is done.
          const fails = order === "io error";
          if (fails) this.#ioErrors += 1;
          if (fails && this.#ioErrors % 2 === 1) throw ioError();
          const value = work();
          if (fails) throw ioError();
          if (order === "crash before commit") throw new Crash(order);
          return value;
        }, how);
        this.#committed();
        if (order === "crash after commit") throw new Crash(order);
        return result;
      } finally {
        depth -= 1;
      }
    };
    Object.defineProperty(connection, "write", { value: through });
    return shared === undefined ? new UpdateLog(connection) : copyOver(connection, shared);
  }

  /** Happens to the next transaction, once. */
  order(order: Ordered): void {
    this.#order = order;
  }

  /** From now on no page can be added, or again as many as needed. */
  setFull(isFull: boolean): void {
    this.#isFull = isFull;
    const pages = Number(this.#db.pragma("page_count", { simple: true }));
    this.#db.pragma(`max_page_count = ${isFull ? pages : 2 ** 30}`);
  }

  get isFull(): boolean {
    return this.#isFull;
  }

  /** The process or the machine is gone, with what was not synced and with its TEMP tables. */
  crash(): void {
    this.#order = undefined;
    if (this.#db.inTransaction) this.#db.exec("ROLLBACK");
    const left = this.#options.synchronous === "FULL" ? this.#db.serialize() : this.#synced;
    this.#db.close();
    this.#db = opened(left);
    this.setFull(this.#isFull);
  }

  /** An empty disk in the place of this one. */
  replaced(): Store {
    this.close();
    return new Store(this.#dice, this.#options, undefined, this.#logs + 1);
  }

  close(): void {
    this.#db.close();
  }

  /** The database itself, for mutants that spoil it. */
  get db(): Database.Database {
    return this.#db;
  }

  #takeOrder(): Ordered {
    const order = this.#order;
    this.#order = undefined;
    return order;
  }

  #committed(): void {
    if (this.#options.synchronous === "FULL") return;
    this.#commits += 1;
    if (this.#commits % this.#options.checkpointEvery === 0) this.#synced = this.#db.serialize();
  }
}

/** The copy over a connection that is open already, and stays open if that fails. */
function copyOver(connection: Connection, shared: SharedStore): UpdateLog {
  Object.defineProperty(connection, "close", { value: () => {} });
  const { open } = Connection;
  Connection.open = (_, { prepare } = {}) => {
    prepare?.(connection);
    return connection;
  };
  try {
    return UpdateLog.open(":memory:", { shared });
  } finally {
    Connection.open = open;
  }
}

function ioError(): Error {
  return new Database.SqliteError("injected", "SQLITE_IOERR_WRITE");
}

function emptyLog(): Buffer {
  const connection = Connection.open(":memory:");
  const bytes = connection.db.serialize();
  connection.close();
  return bytes;
}

function opened(image: Buffer): Database.Database {
  const db = new Database(Buffer.from(image));
  configureWriter(db);
  return db;
}
