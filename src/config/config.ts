/**
 * What the operator asked for, as every other room reads it: validated, frozen, defaults filled in,
 * durations in milliseconds, sizes in bytes, paths absolute. How a file becomes this is `load.ts`;
 * a section that the file leaves out is undefined here, and its door is not built.
 */

import type { Rate } from "../rate.js";
import type { Schedule } from "../schedule.js";

/** A part of the day in UTC, milliseconds after midnight; it may go over midnight. */
export interface QuietHours {
  readonly fromMs: number;
  readonly toMs: number;
}

/** An address to listen on or to dial. Port 0 asks for any free port. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** Which roads updates take to a neighbour; "auto" is KX, and mail while that is down. */
export type Via = "mail" | "kx" | "both" | "auto";

/** Where a key that was lost is asked for: over HKP at a URL without a path, or by mail. */
export type RepairWay = { readonly type: "hkp"; readonly url: string } | { readonly type: "mail" };

/** One [[peer]] entry: a site (mail), a KX peer, or both. */
export interface Neighbour {
  readonly name: string;
  readonly via: Via;
  /** How long KX has to be down before mail goes instead; means something with "auto" only. */
  readonly fallbackMs: number;
  /** Recipient of our incremental mail, and the address that stands for it in a trail. */
  readonly mail: string | undefined;
  /** Addresses and CIDR ranges that may deliver its mail to us. */
  readonly acceptFrom: readonly string[];
  /** Most mails and requests that are taken from it in a time, or undefined for all. */
  readonly acceptRate: Rate | undefined;
  /** Upper bound of one mail to it, in bytes. */
  readonly maxMailBytes: number;
  /** Most mails to it in a time, or undefined for as many as the relay takes. */
  readonly maxRate: Rate | undefined;
  /** Whether its mail may leave over a verified TLS connection only. */
  readonly requireTls: boolean;
  /** Where its KX listener is; connections from this host are this peer's. */
  readonly kx: Endpoint | undefined;
  /** Set for a kxs:// endpoint: the certificate's SHA-256 that it must have, if one is pinned. */
  readonly tls: { readonly pin: string | undefined } | undefined;
  /** Whether we dial, or wait to be dialled. */
  readonly dial: boolean;
  /** Bytes of updates that are fetched from it in a time, or undefined for as many as there are. */
  readonly fetchRate: Rate | undefined;
  /** When nothing is fetched from it. */
  readonly quietHours: QuietHours | undefined;
  /** Where its keys are to be had when an update was lost. */
  readonly repair: RepairWay | undefined;
}

/** How updates get into the keyserver beside us; paths are absolute. */
export type LocalWay =
  | {
      /** A file for each mail, and then a command with "{}" for its path, if one is wanted. */
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
  /** What the keyserver writes into trails; an update whose trail has it is not delivered. */
  readonly address: string | undefined;
  readonly maxMailBytes: number;
  readonly retry: Schedule;
};

/** Why, and for how long, a key is not carried. */
export interface Block {
  readonly reason: string;
  /** Milliseconds since 1970, or undefined for good. */
  readonly until: number | undefined;
  /** Whether an update that is nothing but a hard revocation of the key passes. */
  readonly allowRevocation: boolean;
}

/** What is not carried, see `policy.ts`; sizes in bytes, each of one update or packet. */
export interface PolicySettings {
  readonly maxUpdateBytes: number;
  readonly maxPackets: number;
  readonly maxPacketBytes: number;
  readonly maxSignatureBytes: number;
  readonly maxUserIdBytes: number;
  readonly maxAttributeBytes: number;
  readonly attributes: "accept" | "refuse";
  /** Whether keys that came other than by KX go on as their news or as they came. */
  readonly forward: "news" | "whole";
  /** Absolute path of the block list, or undefined for none. */
  readonly blocklist: string | undefined;
  /** What the block list says, by upper-case fingerprint. */
  readonly blocks: ReadonlyMap<string, Block>;
  /** Absolute path of the file of keys that are carried, or undefined when all are. */
  readonly carry: string | undefined;
  /** What that file says, upper-case fingerprints. */
  readonly carried: ReadonlySet<string> | undefined;
  /** Whether keys are taken of which the log knows nothing; not asked where `carried` is there. */
  readonly newKeys: boolean;
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
    /** Of bodies that are kept longer than `retainMs`, because a site still needs them. */
    readonly holdBytes: number;
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
        /** The mail server in front of us, if it was named. */
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
        /** How long what was refused is kept aside. */
        readonly keepRefusedMs: number;
      }
    | undefined;
  readonly hkp:
    | {
        readonly listen: readonly Endpoint[];
        /** Whether strangers may post, too. */
        readonly open: boolean;
        /** Most requests of strangers from one network in a time. */
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
        /** Envelope sender, marked per site and update; without one, `site.contact` unmarked. */
        readonly bounce: string | undefined;
        readonly retry: Schedule;
        /** Path of a PEM file with CAs that are trusted beside the system's, for the relay. */
        readonly ca: string | undefined;
      }
    | undefined;
  readonly admin:
    | {
        readonly listen: Endpoint;
        /** Host names that it answers to, beside addresses, localhost and this host's own. */
        readonly names: readonly string[];
        /** Whether addresses are masked, because strangers may look. */
        readonly publicStatus: boolean;
      }
    | undefined;
  readonly policy: PolicySettings;
  readonly neighbours: readonly Neighbour[];
}
