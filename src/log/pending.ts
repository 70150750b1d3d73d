/**
 * The updates that a site still needs: its waiting exceptions (`exceptions.ts`), then the entries
 * after its lane's cursor that did not come from it and whose trail does not name it. The lane, the
 * queue, the status, the page, the doctor and the commands that read the log use this query.
 *
 * Cost: SQL compares the trails. A count is cached and updated incrementally: later queries read
 * only the entries appended or passed since. A first count of 100,000 entries takes some 60 ms,
 * later ones 10 microseconds. Policy is not applied: a blocked update counts until the lane has
 * passed it.
 */
import type Database from "better-sqlite3";
import { addressKey, addressParts, isSameAddress } from "../mail-address.js";
import type { Origin, Seq } from "../update.js";
import type { Connection } from "./connection.js";
import type { Exceptions } from "./exceptions.js";
import type { GatheredTrails } from "./gathered-trails.js";
import { ENTRIES, NEWEST } from "./gathering.js";
import type { Lanes } from "./lanes.js";

/** The receiver of a lane's updates. */
export interface Site {
  readonly name: string;
  /** Its address in trails. Undefined if it has none. */
  readonly address: string | undefined;
}

export interface Backlog {
  readonly count: number;
  /** The update that is sent next. */
  readonly first: Seq | undefined;
  /** When that update was received, milliseconds since 1970; 0 if there is none. */
  readonly oldest: number;
}

/** Page size of `seqs`. */
const PAGE = 1000;
/**
 * Maximum number of cached counts. With more lanes, the cache is cleared and counts start again.
 */
const MAX_COUNTS = 200;

/** The cached count of needed entries in (cursor, upTo]. */
interface Counted {
  /** The key of the site's address in trails. Undefined if it has none. */
  readonly key: string | undefined;
  readonly cursor: number;
  readonly upTo: number;
  readonly count: number;
  readonly first: Seq | undefined;
  /**
   * Number of entries in the log at that time. If the log has since grown by fewer entries than
   * were appended, some have expired.
   */
  readonly entries: number;
}

interface Row {
  readonly seq: Seq;
  readonly neighbour: string | null;
  readonly trail: string;
}

interface Bounds {
  readonly newest: number;
  readonly entries: number;
}

/** Parameters of the SQL comparison for the entries in (low, high]. */
interface Range {
  readonly low: number;
  readonly high: number;
  readonly name: string;
  /** The address as it appears in the JSON of a trail. */
  readonly quoted: string;
  /** Every ASCII trail that names the site contains this domain. */
  readonly domain: string;
}

/** The site sent the entry, or the trail contains its address in the same spelling. */
const HAS = "(neighbour IS @name OR instr(trail, @quoted) > 0)";
/** The trail may contain the site's address in another spelling. */
const MAY_HAVE = "(instr(lower(trail), @domain) > 0 OR trail GLOB '*[^ -~]*')";

export class Pending {
  readonly #connection: Connection;
  readonly #lanes: Pick<Lanes, "get">;
  readonly #exceptions: Pick<Exceptions, "waiting">;
  readonly #counts = new Map<string, Counted>();
  readonly #bounds: Database.Statement<[], Bounds>;
  readonly #all: Database.Statement<[{ low: number; high: number }], number>;
  readonly #has: Database.Statement<[Range], Seq>;
  readonly #countHas: Database.Statement<[Range], number>;
  readonly #maybe: Database.Statement<[Range], Row>;
  readonly #page: Database.Statement<[number, number], Seq>;
  readonly #receivedAt: Database.Statement<[number], number>;
  readonly #trail: Database.Statement<[number], string>;
  readonly #grown: Pick<GatheredTrails, "within">;
  readonly #again: Database.Statement<[string], number>;
  readonly #firstAgain: Database.Statement<[string], Seq | null>;
  readonly #from: Database.Statement<[string, string, string], number | null>;

  constructor(
    connection: Connection,
    lanes: Pick<Lanes, "get">,
    exceptions: Pick<Exceptions, "waiting">,
    grown: Pick<GatheredTrails, "within">,
  ) {
    const { db } = connection;
    this.#connection = connection;
    this.#lanes = lanes;
    this.#exceptions = exceptions;
    this.#bounds = db.prepare(`
      SELECT ${NEWEST} AS newest, ${ENTRIES} AS entries FROM totals`);
    this.#all = db.prepare("SELECT count(*) FROM updates WHERE seq > @low AND seq <= @high");
    this.#all.pluck();
    this.#has = db.prepare(`
      SELECT seq FROM updates WHERE seq > @low AND seq <= @high AND ${HAS}`);
    this.#has.pluck();
    this.#countHas = db.prepare(`
      SELECT count(*) FROM updates WHERE seq > @low AND seq <= @high AND ${HAS}`);
    this.#countHas.pluck();
    this.#maybe = db.prepare(`
      SELECT seq, neighbour, trail FROM updates
      WHERE seq > @low AND seq <= @high AND NOT ${HAS} AND ${MAY_HAVE}`);
    this.#page = db.prepare<[number, number], Seq>(
      "SELECT seq FROM updates WHERE seq > ? ORDER BY seq LIMIT ?",
    );
    this.#page.pluck();
    this.#receivedAt = db.prepare<[number], number>(
      "SELECT received_at FROM updates WHERE seq = ?",
    );
    this.#receivedAt.pluck();
    this.#trail = db.prepare<[number], string>("SELECT trail FROM updates WHERE seq = ?").pluck();
    this.#grown = grown;
    this.#again = db.prepare<[string], number>(
      "SELECT count(*) FROM exceptions WHERE site = ? AND state = 'waiting'",
    );
    this.#again.pluck();
    this.#firstAgain = db.prepare<[string], Seq | null>(
      "SELECT min(seq) FROM exceptions WHERE site = ? AND state = 'waiting'",
    );
    this.#firstAgain.pluck();
    this.#from = db.prepare(`
      SELECT min(seq) FROM (
        SELECT min(cursor) + 1 AS seq FROM lanes WHERE site IN (SELECT value FROM json_each(?))
        UNION ALL
        SELECT min(seq) FROM exceptions JOIN lanes USING (site)
        WHERE site IN (SELECT value FROM json_each(?)) AND state = 'waiting'
        UNION ALL
        SELECT min(first) FROM bounces JOIN lanes USING (site)
        WHERE site IN (SELECT value FROM json_each(?)))`);
    this.#from.pluck();
  }

  /** Whether the site has the entry: it sent the entry, or the trail names it. */
  has(site: Site, { seq, origin }: { readonly seq: Seq; readonly origin: Origin }): boolean {
    if (origin.neighbour === site.name) return true;
    if (site.address === undefined) return false;
    const trail = this.#connection.read(() => this.#trail.get(seq));
    if (trail === undefined) return false;
    return isNamed(trail, site.address) || this.#grownBy(site, seq - 1, seq).length > 0;
  }

  /** Returns how many updates the site still needs, and the next one. */
  of(site: Site): Backlog {
    const again = this.#connection.read(() => this.#again.get(site.name)) ?? 0;
    const inLog = this.#counted(site);
    const first = (again === 0 ? undefined : this.#firstWaiting(site)) ?? inLog.first;
    const oldest = first && this.#connection.read(() => this.#receivedAt.get(first));
    return { count: again + inLog.count, first, oldest: oldest ?? 0 };
  }

  /** Yields the numbers of all updates that the site still needs, in sending order. */
  *seqs(site: Site): Generator<Seq> {
    yield* this.#exceptions.waiting(site.name);
    const { cursor, half } = this.#position(site.name);
    for (let low = cursor; ; ) {
      const page = this.#connection.read(() => this.#page.all(low, PAGE));
      const last = page.at(-1);
      if (last === undefined) return;
      const had = new Set(this.#had(site, low, last));
      yield* page.filter((seq) => seq === half || !had.has(seq));
      low = last;
    }
  }

  /** Number of updates that are sent before an entry that the site needs. */
  before(site: Site, seq: Seq): number {
    const again = this.#exceptions.waiting(site.name);
    if (again.includes(seq)) return again.indexOf(seq);
    const { cursor, half } = this.#position(site.name);
    const extra = half !== undefined && half < seq && this.#hasOne(site, half) ? 1 : 0;
    return again.length + extra + this.#needed(site, cursor, seq - 1);
  }

  /** Returns the first entry that may be sent to one of the sites. Undefined if none has a lane. */
  from(sites: readonly string[]): Seq | undefined {
    const names = JSON.stringify(sites);
    return (this.#connection.read(() => this.#from.get(names, names, names)) ?? undefined) as
      | Seq
      | undefined;
  }

  /**
   * Call this when `more` was added to the trail of an entry. Drops the cached counts that this may
   * change.
   */
  grew(seq: Seq, more: readonly string[]): void {
    let keys: Set<string> | undefined;
    for (const [name, { key, cursor, upTo }] of this.#counts) {
      if (key === undefined || seq <= cursor || seq > upTo) continue;
      keys ??= new Set(more.map(addressKey));
      if (keys.has(key)) this.#counts.delete(name);
    }
  }

  /** The position of the lane. `half` is an entry that it has partly sent and will finish. */
  #position(name: string): { readonly cursor: number; readonly half: Seq | undefined } {
    const lane = this.#lanes.get(name);
    // A site without a lane gets one at the newest entry.
    if (lane === undefined) return { cursor: this.#readBounds().newest, half: undefined };
    const { cursor, part } = lane;
    const half = part > 0 ? this.#connection.read(() => this.#page.get(cursor, 1)) : undefined;
    return { cursor, half };
  }

  #firstWaiting(site: Site): Seq | undefined {
    return this.#connection.read(() => this.#firstAgain.get(site.name)) ?? undefined;
  }

  #counted(site: Site): { readonly count: number; readonly first: Seq | undefined } {
    const { name, address } = site;
    const { cursor, half } = this.#position(name);
    const { newest, entries } = this.#readBounds();
    const key = address === undefined ? undefined : addressKey(address);
    const known = this.#counts.get(name);
    const isSame =
      known !== undefined &&
      known.key === key &&
      known.cursor <= cursor &&
      cursor <= known.upTo &&
      known.upTo <= newest &&
      entries - known.entries === newest - known.upTo;
    const count = isSame
      ? known.count -
        this.#needed(site, known.cursor, cursor) +
        this.#needed(site, known.upTo, newest)
      : this.#needed(site, cursor, newest);
    const isAhead = isSame && known.first !== undefined && known.first > cursor;
    const first = count === 0 ? undefined : isAhead ? known.first : this.#first(site, cursor);
    if (this.#counts.size >= MAX_COUNTS) this.#counts.clear();
    this.#counts.set(name, { key, cursor, upTo: newest, count, first, entries });
    // A partly sent update is finished, even if its trail has grown since.
    if (half === undefined || !this.#hasOne(site, half)) return { count, first };
    return { count: count + 1, first: half };
  }

  /** Whether the site has one entry of the log. */
  #hasOne(site: Site, seq: Seq): boolean {
    return this.#had(site, seq - 1, seq).length > 0;
  }

  #readBounds(): Bounds {
    return this.#connection.read(() => this.#bounds.get()) ?? { newest: 0, entries: 0 };
  }

  /** Number of entries in (low, high] that the site needs. */
  #needed(site: Site, low: number, high: number): number {
    if (high <= low) return 0;
    const range = rangeOf(site, low, high);
    return this.#connection.read(() => {
      const all = this.#all.get({ low, high }) ?? 0;
      const had = (this.#countHas.get(range) ?? 0) + this.#otherSpelled(range, site).length;
      return all - had - this.#grownBy(site, low, high).length;
    });
  }

  /** Returns the first entry after `low` that the site needs. */
  #first(site: Site, low: number): Seq | undefined {
    for (let after = low; ; ) {
      const page = this.#connection.read(() => this.#page.all(after, PAGE));
      const last = page.at(-1);
      if (last === undefined) return undefined;
      const had = new Set(this.#had(site, after, last));
      const first = page.find((seq) => !had.has(seq));
      if (first !== undefined) return first;
      after = last;
    }
  }

  /** Returns the entries in (low, high] that the site has. */
  #had(site: Site, low: number, high: number): Seq[] {
    const range = rangeOf(site, low, high);
    return this.#connection.read(() => [
      ...this.#has.all(range),
      ...this.#otherSpelled(range, site),
      ...this.#grownBy(site, low, high),
    ]);
  }

  /**
   * Returns the entries in (low, high] that the site has by what is gathered of their trails, and
   * only by that.
   */
  #grownBy(site: Site, low: number, high: number): Seq[] {
    const { address, name } = site;
    if (address === undefined) return [];
    return this.#grown
      .within(low, high)
      .filter(({ neighbour, added }) => neighbour !== name && isNamed(added, address))
      .map(({ seq }) => seq);
  }

  /** Returns the entries whose trail contains the site's address in another spelling. */
  #otherSpelled(range: Range, site: Site): Seq[] {
    const found: Seq[] = [];
    for (const row of this.#maybe.iterate(range)) if (isHad(row, site)) found.push(row.seq);
    return found;
  }
}

function rangeOf({ name, address }: Site, low: number, high: number): Range {
  // No trail contains a NUL, so NUL is used for a site without an address.
  const text = address ?? "\0";
  const domain = (addressParts(text)?.domain ?? text).toLowerCase();
  return { low, high, name, quoted: JSON.stringify(text), domain };
}

function isHad({ neighbour, trail }: Row, { name, address }: Site): boolean {
  return neighbour === name || (address !== undefined && isNamed(trail, address));
}

/** Whether a stored trail names the address. */
function isNamed(trail: string, address: string): boolean {
  return (JSON.parse(trail) as string[]).some((entry) => isSameAddress(entry, address));
}
