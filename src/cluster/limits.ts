/**
 * The times of the shared database, in milliseconds. They depend on each other: a gateway that is
 * cut off notices it (`beatMs` + `answerMs`) and stops what it has leases for before the server
 * ends its session (`silentMs`) and gives the leases to others.
 */
export const SHARED_LIMITS = {
  /** How long the process waits for an answer; an fsync of a busy disk takes 100 ms. */
  answerMs: 3000,
  /** How long the opening waits for a session; three hosts that do not answer are tried in it. */
  openMs: 15_000,
  /** How long one host has to accept a connection. */
  connectMs: 4000,
  /** How often the session shows that it is alive and asks for leases that others hold. */
  beatMs: 1000,
  /** When the server ends a session from which nothing comes. */
  silentMs: 8000,
  /**
   * How long a starting gateway waits for its name: a former session that still had a statement
   * may live for `answerMs` and `silentMs`, and the name is asked for each `beatMs`.
   */
  nameMs: 13_000,
  /** Waits before the next attempt to connect; the last one repeats. */
  backoffMs: [100, 250, 500, 1000, 2000],
  /** Difference of the clocks of gateway and database above which no session begins. */
  skewMs: 60_000,
  /** Gateways that were not heard from for so long are forgotten. */
  nodeMs: 24 * 60 * 60_000,
  /** How long commits and deleted rows are remembered, for copies of stopped gateways. */
  historyMs: 30 * 24 * 60 * 60_000,
  /** How often the gateway with the lease `expiry` removes what is older. */
  purgeMs: 60 * 60_000,
  /** Rows that it removes at once, one batch with a beat; some ten milliseconds. */
  purgeRows: 1000,
  /** Rows of one query for changes; about as many as one large commit has. */
  changeRows: 5000,
} as const;
