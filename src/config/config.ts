/**
 * The validated configuration that all other folders use: frozen, with defaults,
 * durations in milliseconds, sizes in bytes, absolute paths. `load.ts` reads it from a file;
 * a missing section is undefined here, and its part of the gateway is not started.
 */

import type { Block } from "../block.js";
import type { Rate } from "../rate.js";
import type { QuietHours, Schedule } from "../schedule.js";
import type { ServerKind } from "../server-kinds.js";

/** An address to listen on or to dial. Port 0 means any free port. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** The PostgreSQL database that the gateways of a site share. */
export interface SharedDatabase {
  /** Tried in this order; a host that begins with "/" is the directory of a Unix socket. */
  readonly hosts: readonly Endpoint[];
  readonly database: string;
  readonly user: string;
  /** Never printed. */
  readonly password: string | undefined;
  /** Undefined without TLS; `ca` is the path of a PEM file, undefined for the CAs of the host. */
  readonly tls: { readonly ca: string | undefined } | undefined;
}

/** Which paths updates take to a neighbour; "auto" is KX, and mail while KX is down. */
export type Via = "mail" | "kx" | "both" | "auto";

/** Where a lost key is requested: over HKP at a URL without a path, or by mail. */
export type RepairWay = { readonly type: "hkp"; readonly url: string } | { readonly type: "mail" };

/** One [[peer]] entry: a site (mail), a KX peer, or both. */
export interface Neighbour {
  readonly name: string;
  readonly via: Via;
  /** Whether the operator wrote `via`; otherwise it is the default. */
  readonly isViaSet: boolean;
  /** How long KX must be down before mail is used; for "auto" only. */
  readonly fallbackMs: number;
  /** Recipient of our incremental mail, and its address in a trail. */
  readonly mail: string | undefined;
  /** What it runs; undefined when that is not known. */
  readonly kind: ServerKind | undefined;
  /** Addresses and CIDR ranges that may deliver its mail to us. */
  readonly acceptFrom: readonly string[];
  /** Rate limit for its mails and requests, or undefined for no limit. */
  readonly acceptRate: Rate | undefined;
  /** Upper bound of one mail to it, in bytes. */
  readonly maxMailBytes: number;
  /** Rate limit for mails to it, or undefined for no limit. */
  readonly maxRate: Rate | undefined;
  /** Whether its mail needs a verified TLS connection. */
  readonly requireTls: boolean;
  /** Its KX listener; connections from this host are attributed to it. */
  readonly kx: Endpoint | undefined;
  /** Set for a kxs:// endpoint: the required SHA-256 of its certificate, if one is pinned. */
  readonly tls: { readonly pin: string | undefined } | undefined;
  /** Whether the gateway dials it. */
  readonly dial: boolean;
  /** Highest version of KX that is spoken to it. */
  readonly kxVersion: "1.0" | "1.1";
  /** Rate limit for bytes fetched from it, or undefined for no limit. */
  readonly fetchRate: Rate | undefined;
  /** Hours without fetching from it. */
  readonly quietHours: QuietHours | undefined;
  /** Where its keys are requested after an update was lost. */
  readonly repair: RepairWay | undefined;
}

/** How updates are delivered to the local keyserver; paths are absolute. */
export type LocalWay =
  | {
      /** A file per mail, and an optional command with "{}" for its path. */
      readonly type: "pksd";
      readonly directory: string;
      readonly notify: readonly string[] | undefined;
    }
  /** A .ready file for each mail. */
  | { readonly type: "sks"; readonly directory: string }
  /** POST URL/pks/add. */
  | { readonly type: "hkp"; readonly url: string }
  /** A program that reads a mail from its standard input. */
  | { readonly type: "command"; readonly command: readonly string[] };

export type LocalDelivery = LocalWay & {
  /** Its address in trails; an update whose trail has it is not delivered. */
  readonly address: string | undefined;
  /** What it runs; undefined when that is not known. */
  readonly kind: ServerKind | undefined;
  /** Where its keys are looked up, without a path; undefined when it cannot be asked. */
  readonly url: string | undefined;
  readonly maxMailBytes: number;
  readonly retry: Schedule;
};

/** What is not carried, see `policy.ts`; sizes in bytes, each of one update or packet. */
export interface PolicySettings {
  readonly maxUpdateBytes: number;
  readonly maxPackets: number;
  readonly maxPacketBytes: number;
  readonly maxSignatureBytes: number;
  readonly maxUserIdBytes: number;
  readonly maxAttributeBytes: number;
  readonly attributes: "accept" | "refuse";
  /** Whether keys that did not come by KX are forwarded as their news or unchanged. */
  readonly forward: "news" | "whole";
  /** Absolute path of the block list, or undefined for none. */
  readonly blocklist: string | undefined;
  /** The entries of the block list, by upper-case fingerprint. */
  readonly blocks: ReadonlyMap<string, Block>;
  /** Absolute path of the file of keys that are carried, or undefined when all are. */
  readonly carry: string | undefined;
  /** The upper-case fingerprints of that file. */
  readonly carried: ReadonlySet<string> | undefined;
  /** Whether keys that the log does not know are accepted; not used with `carried`. */
  readonly newKeys: boolean;
}

/** One [[recon]] entry: a server that is followed. */
export interface ReconServerSettings {
  /** Its address as text: its name in all output. */
  readonly name: string;
  readonly server: Endpoint;
  /** URL without a path, for POST /pks/hashquery. */
  readonly hkp: string;
  readonly pollMs: number;
  /** Whether the keys that it has at first are fetched, or only what changes afterwards. */
  readonly start: "now" | "all";
  /** Rate limit for keys that are fetched. */
  readonly rate: Rate;
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
    /** Limit for bodies that are kept beyond `retainMs` because a site still needs them. */
    readonly holdBytes: number;
    /** The database of which `path` is a copy; undefined for a log of one gateway. */
    readonly shared: SharedDatabase | undefined;
    /** Absolute path of the file that the password of `shared` comes from. */
    readonly sharedPasswordFile: string | undefined;
    /** Name of this gateway among those that share the database. */
    readonly node: string | undefined;
  };
  readonly smtp:
    | {
        readonly listen: readonly Endpoint[];
        /** FileDescriptorName= of TCP sockets that systemd opens for us. */
        readonly inherited: readonly string[];
        /** Absolute paths of Unix sockets on which LMTP is spoken. */
        readonly sockets: readonly string[];
        /** Permissions of these sockets, unless systemd made them. */
        readonly socketMode: number;
        readonly hostname: string;
        readonly maxSizeBytes: number;
        /** The mail server in front of the gateway, if configured. */
        readonly front: Endpoint | undefined;
        /** Paths of PEM files, for STARTTLS; without them it is not offered. */
        readonly tls: { readonly cert: string; readonly key: string } | undefined;
      }
    | undefined;
  readonly spool:
    | {
        /** Absolute paths of directories from which mails are taken. */
        readonly watch: readonly string[];
        readonly everyMs: number;
        /** How long refused files are kept. */
        readonly keepRefusedMs: number;
      }
    | undefined;
  readonly hkp:
    | {
        readonly listen: readonly Endpoint[];
        /** Whether unknown clients may post. */
        readonly open: boolean;
        /** Rate limit for unknown clients of one network. */
        readonly strangerRate: Rate;
        /** Of one request, form-encoded. */
        readonly maxSizeBytes: number;
      }
    | undefined;
  readonly local: LocalDelivery | undefined;
  readonly kx:
    | {
        readonly listen: readonly Endpoint[];
        readonly source: string | undefined;
        readonly reconnect: Schedule;
        /** Whether keys are compared with those of each peer by schedule. */
        readonly reconcile: "off" | "daily";
        /** Paths of PEM files, for kxs:// peers. */
        readonly tls:
          | { readonly cert: string; readonly key: string; readonly ca: string | undefined }
          | undefined;
      }
    | undefined;
  readonly outbound:
    | {
        /** smtp:// or smtps:// URL; may hold a password and is never printed. */
        readonly relay: string;
        /** Absolute path of the file that the password in `relay` comes from. */
        readonly relayPasswordFile: string | undefined;
        /** Envelope sender, tagged per site and update; if undefined, `site.contact` untagged. */
        readonly bounce: string | undefined;
        readonly retry: Schedule;
        /** Path of a PEM file with additional CAs for the relay. */
        readonly ca: string | undefined;
      }
    | undefined;
  readonly admin:
    | {
        readonly listen: Endpoint;
        /** Accepted host names, besides addresses, localhost and the name of this host. */
        readonly names: readonly string[];
        /** Whether the page is public, so that addresses are masked. */
        readonly publicStatus: boolean;
      }
    | undefined;
  readonly policy: PolicySettings;
  readonly neighbours: readonly Neighbour[];
  readonly recon: readonly ReconServerSettings[];
}
