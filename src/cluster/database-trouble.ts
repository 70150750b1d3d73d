/**
 * Maps errors of PostgreSQL and of the connection to `Trouble` with a remedy. Only this file knows
 * the codes (https://www.postgresql.org/docs/current/errcodes-appendix.html). Messages of the
 * server name tables and users, never the values of a statement.
 */
import { Trouble, type TroubleKind } from "../errors.js";

interface Rule {
  /** SQLSTATE, or the beginning of it; or the code of a system error. */
  readonly code: string;
  readonly kind: TroubleKind;
  readonly remedy: string;
}

const WAIT = "The gateway continues by itself when the database answers again.";

const CREDENTIALS =
  "Correct user and password (log.shared, log.shared_password_file), or pg_hba.conf.";
const TLS =
  "Name the CA of the server with sslrootcert=FILE, and its host as in its certificate; " +
  "sslmode=disable is for a private network.";
const BROKEN = "Check that nobody changed the tables kxgw_*; restore them from a backup if so.";

const RULES: readonly Rule[] = [
  {
    code: "28",
    kind: "unusable",
    remedy: CREDENTIALS,
  },
  {
    code: "3D000",
    kind: "unusable",
    remedy: "Create the database, or correct its name in log.shared.",
  },
  {
    code: "42501",
    kind: "read-only",
    remedy: "Make the user of log.shared the owner of the database and its tables.",
  },
  {
    code: "53100",
    kind: "disk-full",
    remedy: "Free space on the disk of the database. The gateway then continues by itself.",
  },
  {
    code: "23505",
    kind: "corrupt",
    remedy: "Stop this gateway, delete its copy (log.path) and start it again.",
  },
  // The server stops, has no place, is read-only since a failover, or took too long.
  ...["08", "57", "53", "55", "40", "25006"].map((code) => {
    return { code, kind: "away", remedy: WAIT } as const;
  }),
];

const MISTAKES = [TypeError, RangeError, ReferenceError, SyntaxError];

/** A database that does not answer. */
export function awayTrouble(problem: string): Trouble {
  return new Trouble("away", `the shared database does not answer: ${problem}`, WAIT);
}

/**
 * The error as `Trouble`; `place` says where. A mistake in our code stays as it is. Of a plain
 * Error it is not known whose it is; the library throws such when a connection ends.
 */
export function troubleOf(error: unknown, place = ""): unknown {
  if (error instanceof Trouble || !(error instanceof Error)) return error;
  if (MISTAKES.some((kind) => error instanceof kind)) return error;
  const code = String((error as NodeJS.ErrnoException).code ?? "");
  // An attempt at several addresses of a name has no message of its own.
  const where = place === "" ? "" : ` ${place}`;
  const words = `the shared database${where}: ${error.message || code}`;
  const trouble = (kind: TroubleKind, remedy: string) =>
    new Trouble(kind, words, remedy, { cause: error });
  const rule = RULES.find((one) => code.startsWith(one.code));
  if (rule !== undefined) return trouble(rule.kind, rule.remedy);
  if (/client password must be/.test(error.message)) return trouble("unusable", CREDENTIALS);
  if (TLS_CODE.test(code) || /\bSSL\b/.test(error.message)) return trouble("unusable", TLS);
  // Another SQLSTATE has five characters: a table was changed by hand, or a statement is wrong.
  if (/^[0-9][0-9A-Z]{4}$/.test(code)) return trouble("unusable", BROKEN);
  return trouble("away", WAIT);
}

/** Codes of Node and OpenSSL for a certificate that is not accepted. */
const TLS_CODE = /^(ERR_TLS|ERR_SSL|CERT_|SELF_|UNABLE_TO|INVALID_CA|HOSTNAME_)/;
