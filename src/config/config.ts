/**
 * What the operator asked for, as every other room reads it: validated, frozen, defaults filled in,
 * durations in milliseconds, sizes in bytes, paths absolute. How a file becomes this is `load.ts`;
 * a section that the file leaves out is undefined here, and its door is not built.
 */
import type { Schedule } from "../backoff.js";

/** An address to listen on or to dial. Port 0 asks for any free port. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** Which road updates take to a neighbour. */
export type Via = "mail" | "kx";

/** One [[peer]] entry: a site (mail), a KX peer, or both. */
export interface Neighbour {
  readonly name: string;
  readonly via: Via;
  /** Recipient of our incremental mail, and the address that stands for it in a trail. */
  readonly mail: string | undefined;
  /** Addresses and CIDR ranges that may deliver its mail to us. */
  readonly acceptFrom: readonly string[];
  /** Upper bound of one mail to it, in bytes. */
  readonly maxMailBytes: number;
  /** Where its KX listener is; connections from this host are this peer's. */
  readonly kx: Endpoint | undefined;
  /** Whether we dial, or wait to be dialled. */
  readonly dial: boolean;
}

export interface Config {
  /** Absolute path of the file, or undefined for the embedded default. */
  readonly file: string | undefined;
  readonly mode: "bridge" | "observe";
  readonly site: { readonly address: string; readonly contact: string };
  readonly log: {
    readonly path: string;
    readonly retainMs: number;
    readonly rememberMs: number;
  };
  readonly smtp:
    | {
        readonly listen: readonly Endpoint[];
        readonly hostname: string;
        readonly maxSizeBytes: number;
      }
    | undefined;
  readonly kx:
    | {
        readonly listen: readonly Endpoint[];
        readonly source: string | undefined;
        readonly reconnect: Schedule;
      }
    | undefined;
  readonly outbound:
    | {
        /** smtp:// or smtps:// URL; may hold a password and is never printed. */
        readonly relay: string;
        /** Envelope sender, marked per site and update; without one, `site.contact` unmarked. */
        readonly bounce: string | undefined;
        readonly retry: Schedule;
      }
    | undefined;
  readonly admin: { readonly listen: Endpoint } | undefined;
  readonly neighbours: readonly Neighbour[];
}
