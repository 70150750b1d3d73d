/**
 * The tables in PostgreSQL and every statement that uses them. `kxgw_head` has one row: the newest
 * commit, and whose database it is. `kxgw_rows` has the rows of the shared tables, each with the
 * position of the commit that changed it last; a deleted row stays without data for a time, so that
 * copies learn of it. `kxgw_commits` has the commits of that time: a copy that is based on none of
 * them is refused. `kxgw_nodes` shows the gateways.
 */

/**
 * Version of these tables and of the rows in them, which are those of the shared tables of the log
 * (`log/shared-tables.ts`). Gateways of one version may run together. A test fails when tables,
 * rows or locks change without another version.
 */
export const SHARED_VERSION = 1;

/** The channel of NOTIFY; the payload is a position. */
export const CHANNEL = "kxgw";

/** Creates the tables; parameters cannot be used here, so `kxgw_head` is filled by `FOUND`. */
export const CREATE = `
  CREATE TABLE kxgw_head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL,
    id text NOT NULL,
    site text NOT NULL,
    position bigint NOT NULL DEFAULT 0,
    mark uuid NOT NULL DEFAULT gen_random_uuid(),
    newest bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now()
  );
  COMMENT ON TABLE kxgw_head IS 'KX gateway: newest commit and number, and the site';
  CREATE TABLE kxgw_commits (
    position bigint PRIMARY KEY,
    mark uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
  );
  COMMENT ON TABLE kxgw_commits IS 'KX gateway: commits that copies may be based on';
  CREATE TABLE kxgw_rows (
    tbl text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    data json,
    body bytea,
    PRIMARY KEY (tbl, key)
  );
  COMMENT ON TABLE kxgw_rows IS 'KX gateway: rows of the shared tables of the update log';
  CREATE INDEX kxgw_rows_position ON kxgw_rows (position);
  CREATE INDEX kxgw_rows_deleted ON kxgw_rows (position) WHERE data IS NULL;
  CREATE TABLE kxgw_nodes (
    name text PRIMARY KEY,
    version text NOT NULL,
    position bigint NOT NULL,
    leases text[] NOT NULL,
    sessions text[] NOT NULL,
    address text,
    skew_ms double precision NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now()
  );
  COMMENT ON TABLE kxgw_nodes IS 'KX gateway: the gateways of the site';`;

/** Fills the head of new tables: version, id, site. */
export const FOUND = `
  WITH head AS (
    INSERT INTO kxgw_head (version, id, site) VALUES ($1, $2, $3) RETURNING position, mark
  )
  INSERT INTO kxgw_commits (position, mark) SELECT position, mark FROM head`;

/** Only one gateway creates the tables. */
export const CREATION_LOCK =
  "SELECT pg_advisory_xact_lock(hashtextextended('kxgw:create:' || current_schema(), 0))";

/** What the checks of a new session need. */
export const FACTS = `
  SELECT current_setting('server_version_num')::int AS version,
    current_setting('server_version') AS "versionText",
    pg_is_in_recovery() AS "isStandby",
    current_setting('transaction_read_only') = 'on' AS "isReadOnly",
    current_setting('fsync') = 'off' AS "isUnsafe",
    current_setting('synchronous_commit') AS "commitMode",
    current_setting('server_encoding') AS encoding,
    extract(epoch FROM clock_timestamp()) * 1000 AS now,
    current_schema() AS schema,
    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS "mayCreate",
    (SELECT string_agg(name, ', ') FROM (
      SELECT relname::text AS name FROM pg_class
      WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
        AND relname NOT LIKE 'kxgw\\_%'
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')
      ORDER BY relname LIMIT 3) strange) AS strangers,
    to_regclass('kxgw_head') IS NOT NULL AS "hasTables"`;

/** What the checks need of existing tables. */
export const HEAD = `
  SELECT version, id, site, position::float8 AS position,
    (SELECT bool_and(has_table_privilege(tbl, right_name))
     FROM unnest(ARRAY['kxgw_head', 'kxgw_rows', 'kxgw_commits', 'kxgw_nodes'])
         AS tbl,
       unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS right_name) AS "mayWrite"
  FROM kxgw_head`;

/** The right to see the head at all, which `HEAD` needs. */
export const MAY_READ = "SELECT has_table_privilege('kxgw_head', 'SELECT') AS \"mayRead\"";

/**
 * A commit in one statement, and so in one transaction and one round trip. It does nothing unless
 * $1 and $2 are the newest commit, the numbers of its updates are above the newest number, and the
 * tables have this version: they may have been upgraded under a gateway that was not stopped. A new
 * row of `updates` is inserted and never replaced: the same number twice violates the primary key.
 * Parameters: position, mark, least new number or null, highest new number or null, and arrays of
 * tables, keys, data, bodies, and whether a row is replaced in place.
 */
export const COMMIT = `
  WITH head AS (
    UPDATE kxgw_head
    SET position = position + 1, mark = gen_random_uuid(),
      newest = greatest(newest, $4::bigint)
    WHERE position = $1::bigint AND mark = $2::uuid AND version = ${SHARED_VERSION}
      AND ($3::bigint IS NULL OR newest < $3::bigint)
    RETURNING position, mark
  ), noted AS (
    INSERT INTO kxgw_commits (position, mark) SELECT position, mark FROM head
  ), given AS (
    SELECT r.tbl, r.key, head.position, r.data, r.body, r.in_place
    FROM head, unnest($5::text[], $6::text[], $7::json[], $8::bytea[], $9::boolean[])
      AS r (tbl, key, data, body, in_place)
  ), added AS (
    INSERT INTO kxgw_rows (tbl, key, position, data, body)
    SELECT tbl, key, position, data, body FROM given
    WHERE tbl = 'updates' AND data IS NOT NULL AND NOT in_place
  ), put AS (
    INSERT INTO kxgw_rows (tbl, key, position, data, body)
    SELECT tbl, key, position, data, body FROM given
    WHERE NOT in_place AND (tbl <> 'updates' OR data IS NULL)
    ON CONFLICT (tbl, key) DO UPDATE
    SET position = excluded.position, data = excluded.data, body = excluded.body
  ), replaced AS (
    UPDATE kxgw_rows old SET data = given.data
    FROM given WHERE given.in_place AND old.tbl = given.tbl AND old.key = given.key
  )
  SELECT position::float8 AS position, mark, pg_notify('${CHANNEL}', position::text) AS told
  FROM head`;

/**
 * The head: why a commit did nothing, and the beat of a gateway that does not have its name yet.
 */
export const NEWEST =
  "SELECT position::float8 AS position, mark, newest::float8 AS newest, version FROM kxgw_head";

const CHANGED = "SELECT tbl, key, position, data, body FROM kxgw_rows";

/**
 * The rows after position $1, at most $3 of them and about $2 bytes, with the newest commit of the
 * same snapshot. There is one row without a table when nothing changed, or when the commit $4 with
 * the mark $5 is not known.
 */
export const CHANGES = `
  WITH base AS MATERIALIZED (
    SELECT $4::bigint IS NULL OR EXISTS (
      SELECT FROM kxgw_commits WHERE position = $4::bigint AND mark = $5::uuid) AS is_known
  ), next AS (
    ${CHANGED} WHERE position > $1::bigint AND (SELECT is_known FROM base)
    ORDER BY position, tbl, key LIMIT $3::int
  ), summed AS (
    SELECT *, sum(coalesce(octet_length(body), 0) + coalesce(octet_length(data::text), 0))
        OVER (ORDER BY position, tbl, key
          ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM next
  )
  SELECT head.position::float8 AS newest, head.mark, base.is_known AS "isKnown",
    (SELECT min(position) FROM kxgw_commits)::float8 AS oldest,
    r.tbl, r.key, r.position::float8 AS position, r.data::text AS data, r.body
  FROM kxgw_head head CROSS JOIN base LEFT JOIN summed r ON coalesce(r.before, 0) < $2::bigint
  ORDER BY r.position, r.tbl, r.key`;

/** The rows of one commit, for one that is larger than an answer. */
export const ONE_COMMIT = `
  SELECT tbl, key, position::float8 AS position, data::text AS data, body
  FROM kxgw_rows WHERE position = $1::bigint ORDER BY tbl, key`;

/** Deletes the rows of tables $2 and keys $3, unless they changed after position $1. */
export const DISCARD = `
  DELETE FROM kxgw_rows r USING unnest($2::text[], $3::text[]) AS old (tbl, key)
  WHERE r.tbl = old.tbl AND r.key = old.key AND r.position <= $1::bigint`;

/**
 * Deletes those of the $2 oldest commits that are older than $1 milliseconds, but not the newest.
 */
export const PURGE_COMMITS = `
  DELETE FROM kxgw_commits old
  USING (SELECT position, at FROM kxgw_commits ORDER BY position LIMIT $2::int) first
  WHERE old.position = first.position AND first.position < (SELECT position FROM kxgw_head)
    AND first.at < now() - $1::float8 * interval '1 millisecond'
  RETURNING old.position`;

/**
 * Deletes at most $1 of the deleted rows that no copy needs: one that is based on a commit that is
 * left has applied them. It waits for no other transaction, so that two never wait for each other.
 */
export const PURGE_ROWS = `
  DELETE FROM kxgw_rows r
  USING (
    SELECT tbl, key FROM kxgw_rows
    WHERE data IS NULL AND position <= (SELECT min(position) FROM kxgw_commits)
    ORDER BY position LIMIT $1::int FOR UPDATE SKIP LOCKED
  ) gone
  WHERE r.tbl = gone.tbl AND r.key = gone.key
  RETURNING r.position`;

/** The row of the log's name. */
export const LOG_NAME = `
  SELECT data::text AS data FROM kxgw_rows
  WHERE tbl = 'log_name' AND data IS NOT NULL ORDER BY key LIMIT 1`;

/** A lease is an advisory lock of the session; its number is made of the schema and the name. */
export const LOCK = "hashtextextended('kxgw:' || current_schema() || ':' || name, 0)";

/** Takes those of the leases $1 that no other session holds. */
export const TAKE = `
  SELECT name FROM unnest($1::text[]) AS name WHERE pg_try_advisory_lock(${LOCK})`;

/** Gives back the leases $1. */
export const GIVE = `SELECT pg_advisory_unlock(${LOCK}) FROM unnest($1::text[]) AS name`;

/**
 * Shows that this gateway is alive, and returns the newest position and the version. It does not
 * wait for the disk: a state that is lost with the server is written again a second later. $7 is
 * the clock of this gateway; the way to the server counts as a part of the difference.
 */
export const BEAT = `
  WITH quiet AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true) AS mode
  ), shown AS (
    INSERT INTO kxgw_nodes (name, version, position, leases, sessions, address, skew_ms)
    SELECT $1, $2, $3::bigint, $4::text[], $5::text[], host(inet_client_addr()),
      extract(epoch FROM clock_timestamp())::float8 * 1000 - $7::float8
    FROM quiet
    ON CONFLICT (name) DO UPDATE
    SET version = excluded.version, position = excluded.position, leases = excluded.leases,
      sessions = excluded.sessions, address = excluded.address, skew_ms = excluded.skew_ms,
      seen_at = now(),
      started_at = CASE WHEN $6 THEN now() ELSE kxgw_nodes.started_at END
    RETURNING 1
  )
  SELECT position::float8 AS newest, version FROM kxgw_head, shown`;

export const NODES = `
  SELECT name, version, position::float8 AS position, leases, sessions, address,
    skew_ms AS "skewMs",
    (extract(epoch FROM started_at) * 1000)::float8 AS "startedAt",
    (extract(epoch FROM now() - seen_at) * 1000)::float8 AS "silentMs"
  FROM kxgw_nodes ORDER BY name`;

/** Removes the gateway $1 when it stops, and those that have been silent for $2 milliseconds. */
export const FORGET_NODES = `
  DELETE FROM kxgw_nodes
  WHERE name = $1 OR seen_at < now() - $2::float8 * interval '1 millisecond'`;
