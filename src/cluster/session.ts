/**
 * One session at the database: a connection that passed all checks. It never reconnects. When it
 * ends by a fault, the server gives its leases to others, and `SessionListener.ended` is called
 * once. Runs in the database thread.
 */
import { randomUUID } from "node:crypto";
import pg from "pg";
import type { Clock } from "../clock.js";
import { Trouble, type TroubleKind } from "../errors.js";
import type { Commit, RowKey, SharedChange, SharedChanges, SharedRow } from "../log/shared-port.js";
import { troubleOf } from "./database-trouble.js";
import { SHARED_LIMITS } from "./limits.js";
import type { NodeNote, NodeRow, SessionFacts, WorkerSettings } from "./messages.js";
import {
  BEAT,
  CHANGES,
  CHANNEL,
  COMMIT,
  CREATE,
  CREATION_LOCK,
  DISCARD,
  FACTS,
  FORGET_NODES,
  FOUND,
  GIVE,
  HEAD,
  LOG_NAME,
  MAY_READ,
  NEWEST,
  NODES,
  ONE_COMMIT,
  PURGE_COMMITS,
  PURGE_ROWS,
  SHARED_VERSION,
  TAKE,
} from "./tables.js";

/** The oldest version of PostgreSQL that has every function used here, as `server_version_num`. */
const OLDEST = { number: 130_000, text: "13" };

interface Facts {
  readonly version: number;
  readonly versionText: string;
  readonly isStandby: boolean;
  readonly isReadOnly: boolean;
  readonly isUnsafe: boolean;
  readonly commitMode: string;
  readonly encoding: string;
  readonly now: string;
  readonly schema: string | null;
  readonly mayCreate: boolean;
  readonly strangers: string | null;
  readonly hasTables: boolean;
}

interface Head {
  readonly version: number;
  readonly id: string;
  readonly site: string;
  readonly position: number;
  readonly mayWrite: boolean;
}

interface ChangedRow {
  readonly tbl: string | null;
  readonly key: string;
  readonly position: number;
  readonly data: string | null;
  readonly body: Buffer | null;
}

/** The row of `NEWEST`. */
interface Newest extends Commit {
  readonly newest: number;
  readonly version: number;
}

/** The columns of each row of `CHANGES`. */
interface Answered {
  readonly newest: number;
  readonly mark: string;
  readonly oldest: number;
  readonly isKnown: boolean;
}

/** What a session tells while it lives. */
export interface SessionListener {
  /** Another gateway committed `newest`. */
  news(newest: number): void;
  ended(problem: string): void;
}

/** A server that can only be read: another host may be the primary. */
export class StandbyTrouble extends Trouble {}

export class Session {
  readonly facts: SessionFacts;
  readonly #client: pg.Client;
  readonly #settings: WorkerSettings;
  readonly #clock: Pick<Clock, "now">;
  #isFirstBeat = true;
  #hasName = false;
  #isOver = false;

  private constructor(
    client: pg.Client,
    settings: WorkerSettings,
    facts: SessionFacts,
    clock: Pick<Clock, "now">,
  ) {
    this.#client = client;
    this.#settings = settings;
    this.#clock = clock;
    this.facts = facts;
  }

  /**
   * Connects to `hosts[index]`, checks what is there, and creates the tables in an empty schema.
   * Throws `Trouble`: 'away' when it cannot be reached; every other kind is for the operator, and
   * nothing was changed.
   */
  static async open(
    settings: WorkerSettings,
    index: number,
    generation: number,
    clock: Clock,
    listener: SessionListener,
  ): Promise<Session> {
    const { client, place } = clientFor(settings, index);
    let isOpen = false;
    let session: Session | undefined;
    const end = (problem: string) => {
      if (isOpen) session?.end(problem, listener);
    };
    client.on("error", (error: Error) => end(error.message));
    client.on("end", () => end("the connection was closed"));
    client.on("notification", ({ processId, payload }) => {
      if (processId !== ownProcess(client)) listener.news(Number(payload));
    });
    try {
      await client.connect();
      const facts = await check(client, place, settings, clock);
      await configure(client, facts);
      const head = await headOf(client, place, settings, facts);
      const { id: databaseId, position: newest } = head;
      const server = `PostgreSQL ${facts.versionText} at ${place}`;
      session = new Session(client, settings, { generation, databaseId, newest, server }, clock);
      isOpen = true;
      return session;
    } catch (error) {
      destroy(client);
      throw troubleOf(error, place);
    }
  }

  /** Ends the session at once. Answers that are still awaited are rejected. */
  end(problem: string, listener: SessionListener): void {
    if (this.#isOver) return;
    this.#isOver = true;
    destroy(this.#client);
    listener.ended(problem);
  }

  /** Gives back all leases and ends in order; `isShown` as for `beat`. */
  async close(isShown: boolean): Promise<void> {
    this.#isOver = true;
    if (isShown) await this.#run(FORGET_NODES, [this.#settings.node, SHARED_LIMITS.nodeMs]);
    await this.#client.end();
  }

  async commit(after: Commit, rows: readonly SharedRow[]): Promise<Commit | "behind"> {
    const numbers = rows.flatMap(({ table, key, data, inPlace }) =>
      table === "updates" && data !== undefined && !inPlace ? [numberIn(key)] : [],
    );
    const [least = null, highest = null] =
      numbers.length === 0 ? [] : [Math.min(...numbers), Math.max(...numbers)];
    const values = [
      after.position,
      after.mark,
      least,
      highest,
      rows.map(({ table }) => table),
      rows.map(({ key }) => key),
      rows.map(({ data }) => data ?? null),
      rows.map(({ body }) => (body === undefined ? null : bufferOf(body))),
      rows.map(({ inPlace }) => inPlace ?? false),
    ];
    const [stored] = await this.#prepared<Commit>("kxgw_commit", COMMIT, values);
    if (stored !== undefined) return { position: stored.position, mark: stored.mark };
    const [head] = await this.#prepared<Newest>("kxgw_newest", NEWEST, []);
    if (head !== undefined) this.#checkVersion(head.version);
    if (head?.position !== after.position || head.mark !== after.mark) return "behind";
    throw new Trouble(
      "corrupt",
      `the shared database has update ${head.newest}, and this copy would give out ${least}`,
      "Stop this gateway, delete its copy (log.path) and start it again.",
    );
  }

  async changes(position: number, limit: number, base?: Commit): Promise<SharedChanges> {
    const own = [base?.position ?? null, base?.mark ?? null];
    const values = [position, limit, SHARED_LIMITS.changeRows, ...own];
    const found = await this.#prepared<ChangedRow & Answered>("kxgw_changes", CHANGES, values);
    const [first] = found;
    if (first === undefined) throw new Error("no row of changes");
    const { oldest, isKnown } = first;
    const newest = { position: first.newest, mark: first.mark };
    const answer = (some: readonly ChangedRow[], through: number) => {
      return { changes: some.map(toChange), through, newest, oldest, isKnown };
    };
    if (!isKnown) return answer([], position);
    const rows = found.filter(({ tbl }) => tbl !== null);
    const last = rows.at(-1)?.position ?? newest.position;
    const isWhole = rows.length < SHARED_LIMITS.changeRows && bytesOf(rows) < limit;
    if (isWhole) return answer(rows, newest.position);
    // The last commit may be incomplete.
    const complete = rows.filter((row) => row.position < last);
    if (complete.length > 0) return answer(complete, last - 1);
    const all = await this.#prepared<ChangedRow>("kxgw_one_commit", ONE_COMMIT, [last]);
    return answer(all, last);
  }

  /**
   * Removes a batch of the commits that are older than `historyMs`, of the rows that were deleted
   * before all that are left, and the nodes that were last seen `nodeMs` ago. Returns whether there
   * is more.
   */
  async purge(): Promise<boolean> {
    const { historyMs, nodeMs, purgeRows } = SHARED_LIMITS;
    await this.#run(FORGET_NODES, [null, nodeMs]);
    const commits = await this.#prepared("kxgw_purge", PURGE_COMMITS, [historyMs, purgeRows]);
    const rows = await this.#prepared("kxgw_purge_rows", PURGE_ROWS, [purgeRows]);
    return commits.length === purgeRows || rows.length === purgeRows;
  }

  async discard(position: number, rows: readonly RowKey[]): Promise<void> {
    const values = [position, rows.map(({ table }) => table), rows.map(({ key }) => key)];
    await this.#prepared("kxgw_discard", DISCARD, values);
  }

  /** The name of the log in hex; undefined while the database has none. */
  async name(): Promise<string | undefined> {
    const [row] = await this.#prepared<{ data: string }>("kxgw_log_name", LOG_NAME, []);
    if (row === undefined) return undefined;
    const { name } = JSON.parse(row.data) as { readonly name: { readonly hex: string } };
    return name.hex.toLowerCase();
  }

  /** Takes those of the leases that nobody else holds, and returns them. */
  async take(leases: readonly string[]): Promise<string[]> {
    const taken = await this.#prepared<{ name: string }>("kxgw_take", TAKE, [leases]);
    return taken.map(({ name }) => name);
  }

  /**
   * Whether this session has the name of the gateway, which only one session can have: a lock like
   * a lease.
   */
  async claim(): Promise<boolean> {
    const { node } = this.#settings;
    this.#hasName ||= (await this.take([`node:${node}`])).length > 0;
    return this.#hasName;
  }

  async give(leases: readonly string[]): Promise<void> {
    await this.#prepared("kxgw_give", GIVE, [leases]);
  }

  /**
   * Returns the newest position and the state of all gateways; shows that of this one if `isShown`.
   */
  async beat(
    note: NodeNote,
    leases: readonly string[],
    isShown: boolean,
  ): Promise<{ newest: number; nodes: NodeRow[] }> {
    const newest = isShown ? await this.#show(note, leases) : await this.#newest();
    const nodes = await this.#prepared<NodeRow>("kxgw_nodes", NODES, []);
    return { newest, nodes };
  }

  async #newest(): Promise<number> {
    const [head] = await this.#prepared<Newest>("kxgw_newest", NEWEST, []);
    if (head !== undefined) this.#checkVersion(head.version);
    return head?.position ?? 0;
  }

  async #show(note: NodeNote, leases: readonly string[]): Promise<number> {
    const { node, version } = this.#settings;
    const { position, sessions } = note;
    const now = this.#clock.now();
    const values = [node, version, position, leases, sessions, this.#isFirstBeat, now];
    const [head] = await this.#prepared<Pick<Newest, "newest" | "version">>(
      "kxgw_beat",
      BEAT,
      values,
    );
    if (head !== undefined) this.#checkVersion(head.version);
    this.#isFirstBeat = false;
    return head?.newest ?? 0;
  }

  /** The tables were upgraded while this session lived. */
  #checkVersion(version: number): void {
    if (version !== SHARED_VERSION) throw versionTrouble(this.facts.server, version);
  }

  async #prepared<T>(name: string, text: string, values: unknown[]): Promise<T[]> {
    try {
      return (await this.#client.query({ name, text, values })).rows as T[];
    } catch (error) {
      throw troubleOf(error, this.facts.server);
    }
  }

  async #run(text: string, values: unknown[]): Promise<void> {
    try {
      await this.#client.query(text, values);
    } catch (error) {
      throw troubleOf(error, this.facts.server);
    }
  }
}

function clientFor({ database }: WorkerSettings, index: number) {
  const { hosts, database: name, user, password, tls } = database;
  const { host = "", port } = hosts[index] ?? {};
  const client = new pg.Client({
    ...{ host, port, user, password: password ?? "", database: name },
    // The password of the URL or its file is the only one: no PGPASSWORD and no .pgpass.
    ssl: tls === undefined ? false : { host, ...(tls.ca === undefined ? {} : { ca: tls.ca }) },
    connectionTimeoutMillis: SHARED_LIMITS.connectMs,
    query_timeout: SHARED_LIMITS.answerMs,
    keepAlive: true,
    application_name: "kxgw",
    client_encoding: "UTF8",
  });
  const at = host.startsWith("/") ? host : `${host.includes(":") ? `[${host}]` : host}:${port}`;
  return { client, place: `${at}/${name}` };
}

/** Refuses a server or a schema that cannot be used. Changes nothing. */
async function check(
  client: pg.Client,
  place: string,
  { mayCreate }: WorkerSettings,
  clock: Clock,
): Promise<Facts> {
  const before = clock.now();
  const [facts] = (await client.query<Facts>(FACTS)).rows;
  const after = clock.now();
  if (facts === undefined) throw new Error("no row of facts");
  const fault = (what: string, remedy: string, kind: TroubleKind = "unusable") =>
    new Trouble(kind, `log.shared: ${place} ${what}`, remedy);
  if (facts.version < OLDEST.number) {
    const what = `is PostgreSQL ${facts.versionText}, which is too old`;
    throw fault(what, `Use PostgreSQL ${OLDEST.text} or later.`);
  }
  if (facts.isStandby) {
    throw new StandbyTrouble(
      "read-only",
      `log.shared: ${place} is a standby, which cannot be written`,
      "Write the host of the primary, or all hosts, separated by commas.",
    );
  }
  if (facts.isReadOnly) {
    const remedy = "Remove default_transaction_read_only from the user, database or server.";
    throw fault("is read-only (transaction_read_only = on)", remedy, "read-only");
  }
  if (facts.isUnsafe) {
    const what = "runs with fsync = off, so that a power failure loses acknowledged updates";
    throw fault(what, "Set fsync = on in postgresql.conf and reload the server.");
  }
  if (facts.encoding !== "UTF8") {
    const remedy = "Create the database with ENCODING 'UTF8' TEMPLATE template0.";
    throw fault(`has the encoding ${facts.encoding}, not UTF8`, remedy);
  }
  const skewMs = Number(facts.now) - (before + after) / 2;
  if (Math.abs(skewMs) > SHARED_LIMITS.skewMs) {
    const seconds = Math.round(Math.abs(skewMs) / 1000);
    const way = skewMs > 0 ? "ahead of" : "behind";
    const what = `has a clock that is ${seconds} s ${way} the clock of this host`;
    throw fault(what, "Synchronise both clocks by NTP; check them with timedatectl.");
  }
  if (facts.schema === null) {
    const remedy = "Create the schema, or correct the search_path of the user.";
    throw fault("has no schema for this user", remedy);
  }
  if (facts.hasTables) return facts;
  if (facts.strangers !== null) {
    const what = `is the database of another program (it has ${facts.strangers})`;
    throw fault(what, "Create an empty database for the gateway, and correct log.shared.");
  }
  if (!mayCreate) {
    const remedy =
      "Check the name of the database, or restore it. A gateway that has no copy yet creates the " +
      "tables when it starts.";
    throw fault("has no tables of a gateway", remedy, "not-ours");
  }
  if (!facts.mayCreate) {
    const what = `does not let the user create tables in the schema ${facts.schema}`;
    throw fault(what, "Make the user the owner of the database.", "read-only");
  }
  return facts;
}

/**
 * The server ends the session when nothing comes for `silentMs`: the process stopped, or the
 * network is cut. A stopped process is detected by `idle_session_timeout` (PostgreSQL 14).
 */
async function configure(client: pg.Client, { version, commitMode }: Facts): Promise<void> {
  const { silentMs, answerMs } = SHARED_LIMITS;
  const settings: Record<string, number | string> = {
    statement_timeout: answerMs,
    lock_timeout: answerMs,
    idle_in_transaction_session_timeout: silentMs,
    tcp_keepalives_idle: 2,
    tcp_keepalives_interval: 2,
    tcp_keepalives_count: 3,
    tcp_user_timeout: silentMs,
    ...(version >= 140_000 ? { idle_session_timeout: silentMs } : {}),
    // "local" waits for the own disk, "on" for a synchronous standby as well.
    ...(commitMode === "off" ? { synchronous_commit: "on" } : {}),
  };
  const text =
    "SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS s (name, value)";
  await client.query(text, [Object.keys(settings), Object.values(settings).map(String)]);
}

/** The head of the tables, which are created first in an empty schema. Begins to listen. */
async function headOf(
  client: pg.Client,
  place: string,
  settings: WorkerSettings,
  { hasTables }: Facts,
): Promise<Head> {
  if (!hasTables) await create(client, settings);
  const fault = (kind: "not-ours" | "read-only" | "unusable", what: string, remedy: string) =>
    new Trouble(kind, `log.shared: ${place} ${what}`, remedy);
  const [right] = (await client.query<{ mayRead: boolean }>(MAY_READ)).rows;
  const denied = () =>
    fault(
      "read-only",
      "does not let the user write the tables of the gateway",
      `Make "${settings.database.user}" the owner of the tables kxgw_*.`,
    );
  if (right?.mayRead !== true) throw denied();
  const [head] = (await client.query<Head>(HEAD)).rows;
  if (head === undefined) {
    const remedy = "Restore the database from a backup, or create an empty one.";
    throw fault("unusable", "has no row in kxgw_head", remedy);
  }
  if (head.version !== SHARED_VERSION) throw versionTrouble(place, head.version);
  if (head.site !== settings.site) {
    const what = `belongs to the site ${head.site}, not to ${settings.site}`;
    throw fault("not-ours", what, "Create a database or a schema for each site.");
  }
  if (!head.mayWrite) throw denied();
  await client.query(`LISTEN ${CHANNEL}`);
  return head;
}

function versionTrouble(place: string, version: number): Trouble {
  const remedy =
    version > SHARED_VERSION
      ? "Install the version of the gateway that the others run."
      : "Upgrade as docs/cluster.md describes.";
  const what = `has tables of version ${version}; this gateway knows ${SHARED_VERSION}`;
  return new Trouble("not-ours", `log.shared: ${place} ${what}`, remedy);
}

async function create(client: pg.Client, { site }: WorkerSettings): Promise<void> {
  await client.query("BEGIN");
  try {
    await client.query(CREATION_LOCK);
    const [now] = (await client.query<Facts>(FACTS)).rows;
    if (now?.hasTables !== true) {
      await client.query(CREATE);
      await client.query(FOUND, [SHARED_VERSION, randomUUID(), site]);
    }
    await client.query("COMMIT");
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  }
}

/** Closes the socket at once, since an orderly end needs a server that answers. */
function destroy(client: pg.Client): void {
  const { connection } = client as unknown as {
    readonly connection: { readonly stream: { destroy(): void } };
  };
  connection.stream.destroy();
}

/** The server process of a client, which NOTIFY names as the sender. */
function ownProcess(client: pg.Client): number | undefined {
  return (client as unknown as { readonly processID?: number }).processID;
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function bytesOf(rows: readonly ChangedRow[]): number {
  return rows.reduce((sum, { data, body }) => sum + (data?.length ?? 0) + (body?.length ?? 0), 0);
}

/** The number of an update in its key, as "[12]". */
function numberIn(key: string): number {
  const number = Number(/\d+/.exec(key)?.[0]);
  if (!Number.isSafeInteger(number)) throw new Error(`a key of updates without a number: ${key}`);
  return number;
}

function toChange({ tbl, key, position, data, body }: ChangedRow): SharedChange {
  return {
    ...{ table: tbl ?? "", key, position, data: data ?? undefined },
    // A copy with a buffer of its own, which goes to the other thread.
    body: body === null ? undefined : new Uint8Array(body),
  };
}
