/**
 * A configuration during the conversion: the values from the keyserver's files with their places,
 * and what was not converted and why. The converters (one file per keyserver) fill it,
 * `render.ts` prints it. Values are checked by the readers of our own configuration, so that
 * the result passes `kxgw check`. Invalid values are never kept.
 */
import { parseMailAddress } from "../config/addresses.js";
import type { Endpoint } from "../config/config.js";
import { parseRepair } from "../config/fields.js";
import { quoted } from "../config/quote.js";
import { didYouMean } from "../config/suggest.js";
import { tomlString } from "../config/toml-string.js";
import { formatEndpoint } from "../config/units.js";
import { plainHost } from "../ip-address.js";
import { addressesIn } from "../mail/sent-trail.js";
import { isSameAddress } from "../mail-address.js";
import type { Directive } from "./directive.js";
import { isSample } from "./samples.js";

/** The kind of keyserver. */
export type Kind = "pksd" | "onak" | "sks" | "hockeypuck";

/** The sections of our configuration that a converter writes. */
export type Section = "local" | "kx" | "outbound" | "policy";

/** A line of a section. */
export interface Setting {
  readonly key: string;
  /** The value as TOML. */
  readonly toml: string;
  /** Its origin and a note, printed after it as a comment. */
  readonly remark: string;
  /** A proposal is printed as a comment. */
  readonly isProposal: boolean;
}

/** An address and its place. */
export interface Found {
  readonly value: string;
  readonly place: string;
  readonly key: string;
}

/** An endpoint and its place. */
export interface FoundEndpoint {
  readonly endpoint: Endpoint;
  readonly place: string;
  readonly key: string;
}

/** A directive that is not converted. */
export interface Left {
  readonly place: string;
  readonly key: string;
  /** "unknown", "unneeded" by a gateway, or to be done "by-hand". */
  readonly kind: "unknown" | "unneeded" | "by-hand";
  readonly why: string;
}

/** The purpose of directives by key; a key that ends in "." or ":" is a prefix. */
export type Unneeded = Readonly<Record<string, string>>;

/** Why a sample address is not taken over. */
export const SAMPLE = "is the sample of the distribution";

/** More than the number of lines of a file. */
const LINES = 2 ** 32;

export class Draft {
  readonly kind: Kind;
  /** Names of the files. */
  readonly files: readonly string[];
  readonly taken: Directive[] = [];
  readonly left: Left[] = [];
  readonly #peers: Found[] = [];
  readonly settings: Readonly<Record<Section, Setting[]>> = {
    ...{ local: [], kx: [], outbound: [], policy: [] },
  };
  readonly #kxPeers: FoundEndpoint[] = [];
  /** Fingerprints that the keyserver refuses. */
  readonly blocked: Found[] = [];
  readonly #repairs: Found[] = [];
  /** Where the keyserver can be followed by recon. */
  followed: { readonly server: Endpoint; readonly hkp: string } | undefined;
  /** Instructions for the operator about the keyserver itself. */
  readonly advice: string[] = [];
  readonly #given: string | undefined;
  #site: Found | undefined;
  #contact: Found | undefined;

  /** `given` is our address; it overrides the files. */
  constructor(kind: Kind, files: readonly string[], given: string | undefined) {
    this.kind = kind;
    this.files = files;
    this.#given = given;
  }

  /** The previous address of the keyserver. */
  get site(): Found | undefined {
    return this.#site;
  }

  /** Our address: that of the keyserver, unless another one is given. */
  get ours(): Found | undefined {
    if (this.#given === undefined) return this.#site;
    return { value: this.#given, place: "", key: "--site" };
  }

  /** HKP addresses where a lost key may be requested. */
  get repairs(): readonly Found[] {
    return this.#repairs;
  }

  get peers(): readonly Found[] {
    return this.#peers;
  }

  /** Peers that spoke KX already. */
  get kxPeers(): readonly FoundEndpoint[] {
    return this.#kxPeers;
  }

  get contact(): Found | undefined {
    return this.#contact;
  }

  /** Our address in the network; the last one is used, as in all keyservers. */
  setSite(directive: Directive): void {
    const found = this.#own(directive);
    if (found === undefined) return;
    if (this.#site !== undefined) this.leave(this.#site, "by-hand", again(directive));
    this.#site = found;
  }

  /** The operator's address. */
  setContact(directive: Directive): void {
    const found = this.#own(directive);
    if (found === undefined) return;
    if (this.#contact !== undefined) this.leave(this.#contact, "by-hand", again(directive));
    this.#contact = found;
  }

  /** A site to which updates are mailed. */
  addPeer(directive: Directive): void {
    const found = this.#address(directive);
    if (found === undefined) return;
    const same = this.#peers.find(({ value }) => isSameAddress(value, found.value));
    if (same === undefined) this.#peers.push(found);
    else this.leave(directive, "by-hand", `the same address is in ${same.place}`);
  }

  /** A KX peer. */
  addKxPeer(directive: Directive, endpoint: Endpoint): void {
    const spelled = ({ host, port }: Endpoint) => formatEndpoint({ host: plainHost(host), port });
    const same = this.#kxPeers.find((one) => spelled(one.endpoint) === spelled(endpoint));
    if (same !== undefined) {
      return this.leave(directive, "by-hand", `the same endpoint is in ${same.place}`);
    }
    this.take(directive);
    this.#kxPeers.push({ endpoint, place: directive.place, key: directive.key });
  }

  /** A keyserver with HKP at `url`; returns whether the URL is valid. */
  addRepair({ place, key }: Directive, url: string): boolean {
    if ("fault" in parseRepair(url)) return false;
    this.#repairs.push({ value: url.replace(/\/$/, ""), place, key });
    return true;
  }

  /** The last step: removes our own address from the neighbours, and sorts what was left. */
  finish(): void {
    const index = this.#peers.findIndex(({ value }) => isSameAddress(value, this.ours?.value));
    const [own] = index < 0 ? [] : this.#peers.splice(index, 1);
    if (own !== undefined) this.leave(own, "by-hand", "is our own address and not a neighbour");
    const rank = ({ place }: Left) => {
      const [, name = place, line = "0"] = /^(.*):(\d+)$/.exec(place) ?? [];
      return this.files.indexOf(name) * LINES + Number(line);
    };
    this.left.sort((a, b) => rank(a) - rank(b));
  }

  /** A line of a section; `toml` is its value as TOML. */
  set(section: Section, key: string, toml: string, remark: string): void {
    this.settings[section].push({ key, toml, remark, isProposal: false });
  }

  /** A line of a section as a proposal to the operator. */
  propose(section: Section, key: string, toml: string, remark: string): void {
    this.settings[section].push({ key, toml, remark, isProposal: true });
  }

  /** Records that a directive was used. */
  take(directive: Directive): void {
    this.taken.push(directive);
  }

  /** Records that a directive was not used. */
  leave({ place, key }: Omit<Directive, "value">, kind: Left["kind"], why: string): void {
    this.left.push({ place, key, kind, why });
  }

  /** Records a directive without a counterpart, known or unknown. */
  leaveRest(directive: Directive, unneeded: Unneeded, known: readonly string[]): void {
    const { key } = directive;
    const prefix = Object.keys(unneeded).find((name) => /[.:]$/.test(name) && key.startsWith(name));
    const why = unneeded[key] ?? (prefix === undefined ? undefined : unneeded[prefix]);
    if (why !== undefined) this.leave(directive, "unneeded", why);
    else {
      const hint = didYouMean(key, [...known, ...Object.keys(unneeded)]);
      this.leave(directive, "unknown", `unknown directive${hint}`);
    }
  }

  /** An address of this site. One that came with the software is of another site or of none. */
  #own(directive: Directive): Found | undefined {
    const [address = directive.value] = addressesIn(directive.value);
    if (!address.includes("@") || !isSample(address)) return this.#address(directive);
    this.leave(directive, "by-hand", `${quoted(address)} ${SAMPLE}: write your own address`);
    return undefined;
  }

  #address(directive: Directive): Found | undefined {
    const { value, place, key } = directive;
    const [address = value] = addressesIn(value);
    const reading = parseMailAddress(address);
    if ("fault" in reading) {
      this.leave(directive, "by-hand", reading.fault);
      return undefined;
    }
    this.take(directive);
    return { value: reading.value, place, key };
  }
}

function again({ place }: Directive): string {
  return `overridden in ${place}`;
}

/** The last directive of a key, which overrides the others. */
export function lastDirective(
  directives: readonly Directive[],
  key: string,
): Directive | undefined {
  return directives.findLast((directive) => directive.key === key);
}

/** The mail program of the keyserver: replaced by SMTP; its bounce address becomes a proposal. */
export function mailProgram(draft: Draft, directive: Directive): void {
  draft.take(directive);
  const { place, key, value } = directive;
  const [, bounce] = /(?:^|\s)-f\s*(\S+)/.exec(value) ?? [];
  if (bounce === undefined || "fault" in parseMailAddress(bounce)) return;
  const remark = `${place} ${key} -f; tagged per update, so addresses with "+..." must reach us`;
  draft.propose("outbound", "bounce", tomlString(bounce), remark);
}

/** The directory of a spool, if it is valid in our configuration. */
export function directoryOf(draft: Draft, directive: Directive | undefined): string | undefined {
  if (directive === undefined) return undefined;
  if (directive.value.startsWith("/")) {
    draft.take(directive);
    return directive.value;
  }
  draft.leave(directive, "by-hand", `${quoted(directive.value)} is not an absolute path`);
  return undefined;
}
