/**
 * A configuration under translation: what was understood of a keyserver's own files, where it
 * stood, and what was not taken over and why. The translations (one file a keyserver) fill it,
 * `render.ts` writes it down. It judges a value by the readers of our own configuration, so that
 * whatever it holds passes `kxgw check`. Values that it does not understand are never kept.
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

/** Whose configuration it was. */
export type Kind = "pksd" | "onak" | "sks" | "hockeypuck";

/** The sections of our configuration that a translation writes into. */
export type Section = "local" | "kx" | "outbound" | "policy";

/** A line of a section. */
export interface Setting {
  readonly key: string;
  /** As TOML has it. */
  readonly toml: string;
  /** Where it comes from and what is to be known of it; stands behind it as a comment. */
  readonly remark: string;
  /** A proposal stands in the file as a comment. */
  readonly isProposal: boolean;
}

/** An address and where it stood. */
export interface Found {
  readonly value: string;
  readonly place: string;
  readonly key: string;
}

/** An endpoint and where it stood. */
export interface FoundEndpoint {
  readonly endpoint: Endpoint;
  readonly place: string;
  readonly key: string;
}

/** A directive that is not taken over. */
export interface Left {
  readonly place: string;
  readonly key: string;
  /** "unknown" to us, "unneeded" by a gateway, or for the operator to do "by-hand". */
  readonly kind: "unknown" | "unneeded" | "by-hand";
  readonly why: string;
}

/** What a directive is for, by its key; one that ends in "." or ":" stands for all of its kind. */
export type Unneeded = Readonly<Record<string, string>>;

/** More than a file of ours can have lines. */
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
  /** Sentences for the operator about what to do at the keyserver itself. */
  readonly advice: string[] = [];
  readonly #given: string | undefined;
  #site: Found | undefined;
  #contact: Found | undefined;

  /** `given` is the address that is ours whatever the files say. */
  constructor(kind: Kind, files: readonly string[], given: string | undefined) {
    this.kind = kind;
    this.files = files;
    this.#given = given;
  }

  /** What the keyserver's own address has been. */
  get site(): Found | undefined {
    return this.#site;
  }

  /** Our address: the keyserver's, unless another one is given. */
  get ours(): Found | undefined {
    if (this.#given === undefined) return this.#site;
    return { value: this.#given, place: "", key: "--site" };
  }

  /** HKP addresses where a lost key may be asked for. */
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

  /** Our address in the network; the last one counts, as with every keyserver. */
  setSite(directive: Directive): void {
    const found = this.#address(directive);
    if (found === undefined) return;
    if (this.#site !== undefined) this.leave(this.#site, "by-hand", again(directive));
    this.#site = found;
  }

  /** The operator's address. */
  setContact(directive: Directive): void {
    const found = this.#address(directive);
    if (found === undefined) return;
    if (this.#contact !== undefined) this.leave(this.#contact, "by-hand", again(directive));
    this.#contact = found;
  }

  /** A site that updates are mailed to. */
  addPeer(directive: Directive): void {
    const found = this.#address(directive);
    if (found === undefined) return;
    const same = this.#peers.find(({ value }) => isSameAddress(value, found.value));
    if (same === undefined) this.#peers.push(found);
    else this.leave(directive, "by-hand", `the same address stands in ${same.place}`);
  }

  /** A site that KX is spoken with. */
  addKxPeer(directive: Directive, endpoint: Endpoint): void {
    const spelled = ({ host, port }: Endpoint) => formatEndpoint({ host: plainHost(host), port });
    const same = this.#kxPeers.find((one) => spelled(one.endpoint) === spelled(endpoint));
    if (same !== undefined) {
      return this.leave(directive, "by-hand", `the same endpoint stands in ${same.place}`);
    }
    this.take(directive);
    this.#kxPeers.push({ endpoint, place: directive.place, key: directive.key });
  }

  /** A keyserver that answers over HKP at `url`; says whether that is an address of one. */
  addRepair({ place, key }: Directive, url: string): boolean {
    if ("fault" in parseRepair(url)) return false;
    this.#repairs.push({ value: url.replace(/\/$/, ""), place, key });
    return true;
  }

  /** At the end: our own address is no neighbour, and what was left comes in the files' order. */
  finish(): void {
    const index = this.#peers.findIndex(({ value }) => isSameAddress(value, this.ours?.value));
    const [own] = index < 0 ? [] : this.#peers.splice(index, 1);
    if (own !== undefined) this.leave(own, "by-hand", "is our own address, and no neighbour");
    const rank = ({ place }: Left) => {
      const [, name = place, line = "0"] = /^(.*):(\d+)$/.exec(place) ?? [];
      return this.files.indexOf(name) * LINES + Number(line);
    };
    this.left.sort((a, b) => rank(a) - rank(b));
  }

  /** A line of a section; `toml` is its value as TOML has it. */
  set(section: Section, key: string, toml: string, remark: string): void {
    this.settings[section].push({ key, toml, remark, isProposal: false });
  }

  /** A line of a section that the operator may want. */
  propose(section: Section, key: string, toml: string, remark: string): void {
    this.settings[section].push({ key, toml, remark, isProposal: true });
  }

  /** Notes that a directive was used. */
  take(directive: Directive): void {
    this.taken.push(directive);
  }

  /** Notes that a directive was not used. */
  leave({ place, key }: Omit<Directive, "value">, kind: Left["kind"], why: string): void {
    this.left.push({ place, key, kind, why });
  }

  /** Notes a directive that is nothing to us: known to be so, or unknown altogether. */
  leaveRest(directive: Directive, unneeded: Unneeded, known: readonly string[]): void {
    const { key } = directive;
    const prefix = Object.keys(unneeded).find((name) => /[.:]$/.test(name) && key.startsWith(name));
    const why = unneeded[key] ?? (prefix === undefined ? undefined : unneeded[prefix]);
    if (why !== undefined) this.leave(directive, "unneeded", why);
    else {
      const hint = didYouMean(key, [...known, ...Object.keys(unneeded)]);
      this.leave(directive, "unknown", `no directive that is known here${hint}`);
    }
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
  return `said again in ${place}, and the last one counts`;
}

/** The last directive of a key, which is the one that counts. */
export function lastDirective(
  directives: readonly Directive[],
  key: string,
): Directive | undefined {
  return directives.findLast((directive) => directive.key === key);
}

/** How mail left the keyserver: the program is replaced by SMTP, its bounce address is shown. */
export function mailProgram(draft: Draft, directive: Directive): void {
  draft.take(directive);
  const { place, key, value } = directive;
  const [, bounce] = /(?:^|\s)-f\s*(\S+)/.exec(value) ?? [];
  if (bounce === undefined || "fault" in parseMailAddress(bounce)) return;
  const remark = `${place} ${key} -f; marked per update, so its "+..." has to reach us as well`;
  draft.propose("outbound", "bounce", tomlString(bounce), remark);
}

/** The directory of a spool, if it can be one of ours. */
export function directoryOf(draft: Draft, directive: Directive | undefined): string | undefined {
  if (directive === undefined) return undefined;
  if (directive.value.startsWith("/")) {
    draft.take(directive);
    return directive.value;
  }
  draft.leave(directive, "by-hand", `${quoted(directive.value)} is no absolute path`);
  return undefined;
}
