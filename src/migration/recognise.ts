/**
 * Detects the kind of keyserver of a file, by its content, or else by its name,
 * and converts files to a draft. It knows the file names of the keyservers.
 */
import { basename } from "node:path";
import { Refusal } from "../errors.js";
import { isAddress } from "../mail-address.js";
import type { Directive, Source } from "./directive.js";
import {
  iniDirectives,
  listedDirectives,
  pksdDirectives,
  sksDirectives,
  tomlDirectives,
} from "./directive.js";
import type { Kind } from "./draft.js";
import { Draft } from "./draft.js";
import { fromHockeypuck } from "./hockeypuck.js";
import { fromOnak } from "./onak.js";
import { fromPksd } from "./pksd.js";
import { fromSks } from "./sks.js";

/** A form of file, and the keyserver that has it. */
interface Form {
  readonly kind: Kind;
  readonly read: (source: Source) => Directive[];
  /** A line that every such file contains; undefined if only the name identifies it. */
  readonly mark: RegExp | undefined;
}

const FORMS = {
  "pksd.conf": {
    kind: "pksd",
    read: pksdDirectives,
    mark: /^(this_site|(tcp_)?syncsite|db_dir|pks_bin_dir|maintainer_email|mail_dir)[ \t]+[^=\s]/m,
  },
  "onak.ini": {
    kind: "onak",
    read: iniDirectives,
    mark: /^[ \t]*\[(main|mail|verification|backend:[^\]\n]*)\][ \t]*$[^[]*^[ \t]*\w+[ \t]*=/m,
  },
  // The file of onak before 0.5: the form of pksd, but its server reads no pks-mail.* files.
  "onak.conf": { kind: "onak", read: pksdDirectives, mark: undefined },
  sksconf: {
    kind: "sks",
    read: sksDirectives,
    mark: /^[ \t]*(hkp_address|hkp_port|recon_port|pagesize|from_addr|basedir|hostname)[ \t]*:/m,
  },
  mailsync: {
    kind: "sks",
    read: (source) => listedDirectives(source, "mailsync"),
    mark: undefined,
  },
  membership: {
    kind: "sks",
    read: (source) => listedDirectives(source, "membership"),
    mark: undefined,
  },
  "hockeypuck.conf": {
    kind: "hockeypuck",
    read: tomlDirectives,
    mark: /^[ \t]*\[(hockeypuck|hkp|conflux|openpgp|pks)(\.[^\]\n]+)?\]/m,
  },
} as const satisfies Readonly<Record<string, Form>>;

type FormName = keyof typeof FORMS;

const KINDS: Readonly<Record<Kind, FormName>> = {
  pksd: "pksd.conf",
  onak: "onak.ini",
  sks: "sksconf",
  hockeypuck: "hockeypuck.conf",
};

/** The file names that are searched in a directory. */
export const FILE_NAMES = Object.keys(FORMS);

/** The keyservers whose files are understood. */
export const KIND_NAMES = Object.keys(KINDS);

/** A kind by its name. */
export function kindOf(name: string): Kind | undefined {
  return KIND_NAMES.includes(name) ? (name as Kind) : undefined;
}

/** Whether any of the lines is something other than a mail address. */
function isMailsync({ text }: Source): boolean {
  const lines = text.split(/\r?\n/).filter((line) => !/^\s*(#|$)/.test(line));
  return lines.length > 0 && lines.every((line) => isAddress(line.trim()));
}

function formOf(source: Source, wanted: Kind | undefined): Form {
  const name = FILE_NAMES.find((known) => known === basename(source.name)) as FormName | undefined;
  const marked = Object.values<Form>(FORMS).find(({ mark }) => mark?.test(source.text));
  if (wanted !== undefined) {
    const named = name === undefined ? undefined : FORMS[name];
    if (named?.kind === wanted) return named;
    if (wanted === "sks" && isMailsync(source)) return FORMS.mailsync;
    return FORMS[KINDS[wanted]];
  }
  if (name === "onak.conf") return FORMS[name];
  if (marked !== undefined) return marked;
  if (name !== undefined) return FORMS[name];
  if (isMailsync(source)) return FORMS.mailsync;
  const known = "a pksd.conf, onak.ini, sksconf, mailsync nor hockeypuck.conf";
  const hint = `write --from ${KIND_NAMES.join("|")} if it is one`;
  throw new Refusal("bad-request", `${source.name}: is neither ${known}; ${hint}`);
}

/** The options of the operator. */
export interface Asked {
  /** The kind of keyserver; undefined to detect it. */
  readonly kind: Kind | undefined;
  /** Our mail address, a valid one, in place of the keyserver's. */
  readonly site: string | undefined;
  /** Where the first file is, absolute. */
  readonly directory: string;
}

/**
 * The draft of one keyserver's files. Throws `Refusal` for files of several keyservers, for one
 * that is none, and for a line that is not of the form that such a file has.
 */
export function translate(sources: readonly Source[], asked: Asked): Draft {
  const forms = sources.map((source) => ({ source, form: formOf(source, asked.kind) }));
  const [first] = forms;
  if (first === undefined) throw new Error("there is no file to convert");
  const { kind } = first.form;
  const other = forms.find(({ form }) => form.kind !== kind);
  if (other !== undefined) {
    const [a, b] = [first.source.name, other.source.name];
    const whose = `${a} is of ${kind} and ${b} of ${other.form.kind}`;
    throw new Refusal("bad-request", `${whose}: migrate one keyserver at a time`);
  }
  const directives = forms.flatMap(({ source, form }) => form.read(source));
  const draft = new Draft(
    kind,
    sources.map(({ name }) => name),
    asked.site,
  );
  if (kind === "pksd") fromPksd(directives, draft);
  else if (kind === "onak") fromOnak(directives, draft);
  else if (kind === "sks") fromSks(directives, draft, asked.directory);
  else fromHockeypuck(directives, draft);
  draft.finish();
  return draft;
}
