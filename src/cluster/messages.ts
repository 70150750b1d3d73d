/**
 * What the main thread and the database thread say to each other. Requests are answered in their
 * order, and the main thread waits for the answer. Notes and events are not answered.
 */
import type { TroubleKind } from "../errors.js";
import type { Commit, RowKey, SharedRow } from "../log/shared-port.js";

/** The lease of the one gateway that removes expired rows from the database. */
export const EXPIRY = "expiry";

/** The state of a gateway that the others see. */
export interface NodeNote {
  /** Position of its copy. */
  readonly position: number;
  /** Names of the peers with which it has a KX session. */
  readonly sessions: readonly string[];
}

/** A gateway of the site, as the database shows it. */
export interface NodeRow extends NodeNote {
  readonly name: string;
  readonly version: string;
  /** The leases that it holds. */
  readonly leases: readonly string[];
  /** Milliseconds since 1970, by the clock of the database. */
  readonly startedAt: number;
  /** Milliseconds since it was last heard from, by the clock of the database. */
  readonly silentMs: number;
  /** The address that it comes from; null over a Unix socket. */
  readonly address: string | null;
  /** By how many milliseconds the clock of the database is ahead of its clock. */
  readonly skewMs: number;
}

/** The facts of a session that the main thread needs. */
export interface SessionFacts {
  /** Number of the session, ascending: leases belong to one session. */
  readonly generation: number;
  /** Identifier of the database: a random UUID, made with the tables. */
  readonly databaseId: string;
  /** Newest position. */
  readonly newest: number;
  /** The host that answered, and its version. */
  readonly server: string;
}

export type Request =
  /** Waits for the first session. */
  | { readonly type: "open" }
  | { readonly type: "commit"; readonly after: Commit; readonly rows: readonly SharedRow[] }
  | {
      readonly type: "changes";
      readonly position: number;
      readonly limit: number;
      readonly base: Commit | undefined;
    }
  | { readonly type: "discard"; readonly position: number; readonly rows: readonly RowKey[] }
  | { readonly type: "name" };

/** `generation` is the session that the main thread knows; another one refuses the request. */
export interface Asked {
  readonly id: number;
  readonly generation: number;
  readonly request: Request;
}

/** An error that goes from one thread to the other. */
export interface ToldTrouble {
  readonly kind: TroubleKind;
  readonly message: string;
  readonly remedy: string;
}

export type Answer =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly trouble: ToldTrouble };

export type Note =
  /** The leases that this gateway wants; the others that it holds are given back. */
  | { readonly type: "want"; readonly leases: readonly string[] }
  | { readonly type: "node"; readonly node: NodeNote }
  /** An answer did not come in time: the session ends. */
  | { readonly type: "drop"; readonly problem: string }
  /** Ends the session and the thread. */
  | { readonly type: "close" };

export type SharedEvent =
  | { readonly type: "connected"; readonly session: SessionFacts }
  /** The session ended, and with it all leases. */
  | { readonly type: "lost"; readonly generation: number; readonly problem: string }
  /** The database answers, and cannot be used; it is asked again later. */
  | { readonly type: "refused"; readonly trouble: ToldTrouble }
  | { readonly type: "granted"; readonly generation: number; readonly lease: string }
  | {
      readonly type: "beat";
      readonly newest: number;
      readonly nodes: readonly NodeRow[];
      readonly hasName: boolean;
    }
  /** Another gateway committed. */
  | { readonly type: "news"; readonly newest: number }
  | { readonly type: "bug"; readonly message: string };

export interface WorkerSettings {
  readonly database: {
    readonly hosts: readonly { readonly host: string; readonly port: number }[];
    readonly database: string;
    readonly user: string;
    readonly password: string | undefined;
    /** `ca` is the text of a PEM file. */
    readonly tls: { readonly ca: string | undefined } | undefined;
  };
  /** Address of the site. */
  readonly site: string;
  /** Name of this gateway, unique in the site. */
  readonly node: string;
  readonly version: string;
  /** Whether the tables are created in an empty database. */
  readonly mayCreate: boolean;
  /** Whether the name is claimed and the gateway shown to the others; a check does neither. */
  readonly isNode: boolean;
}
