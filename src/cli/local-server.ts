/**
 * The local keyserver, for `kxgw init`: detected by its configuration in the usual places, else by
 * a listener on the HKP port of this host, or named by the operator as KIND:PATH or hkp:URL.
 * Its files are translated as `kxgw config migrate` does it. Read-only.
 */
import { existsSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { parseKeyserver } from "../config/addresses.js";
import { tomlString } from "../config/toml-string.js";
import { Refusal } from "../errors.js";
import { type Kind, SAMPLE } from "../migration/draft.js";
import { KIND_NAMES, kindOf } from "../migration/recognise.js";
import { besideLines, localLines } from "../migration/render.js";
import { draftOf, NoInput } from "./migrate.js";

/** Where to search: below `root`, and on a port of this host. */
export interface Places {
  readonly root: string;
  readonly hkpPort: number;
}

export const THIS_HOST: Places = { root: "/", hkpPort: 11371 };

/** What our configuration needs of a local keyserver. */
export interface LocalServer {
  /** Its name as a value of `--local`. */
  readonly word: string;
  /** The lines of [local], without its header. */
  readonly lines: readonly string[];
  /** Further sections and neighbours for it. */
  readonly beside: readonly string[];
  /** Addresses of site and operator from its own files. */
  readonly site: string | undefined;
  readonly contact: string | undefined;
  /** How many sites it mails to. */
  readonly neighbours: number;
  /** What it answers over HKP; empty if it was not asked. */
  readonly software: string;
  /** Addresses of its files that are samples of a distribution, each with its place. */
  readonly samples: readonly string[];
}

/** The first existing file of a kind is used. */
const USUAL: readonly (readonly [Kind, string, string])[] = [
  ["pksd", "etc", "pksd.conf"],
  ["pksd", "etc/pks", "pksd.conf"],
  ["pksd", "usr/local/etc", "pksd.conf"],
  ["onak", "etc", "onak.ini"],
  ["onak", "etc", "onak.conf"],
  ["onak", "usr/local/etc", "onak.ini"],
  ["sks", "etc/sks", "sksconf"],
  ["sks", "var/sks", "sksconf"],
  ["sks", "usr/local/etc/sks", "sksconf"],
  ["hockeypuck", "etc/hockeypuck", "hockeypuck.conf"],
  ["hockeypuck", "hockeypuck/etc", "hockeypuck.conf"],
  ["hockeypuck", "usr/local/etc", "hockeypuck.conf"],
];

/** Time limit of a connection to this host. */
const CONNECT_MS = 1000;

/** The `--local` value of every keyserver that is found, likeliest first. */
export async function findServers({ root, hkpPort }: Places): Promise<string[]> {
  const found = new Map<Kind, string>();
  for (const [kind, folder, file] of USUAL) {
    if (found.has(kind) || !existsSync(join(root, folder, file))) continue;
    // SKS has two files and more in a directory of its own.
    found.set(kind, kind === "sks" ? join(root, folder) : join(root, folder, file));
  }
  const words = [...found].map(([kind, path]) => `${kind}:${path}`);
  if (words.length > 0 || !(await listens(hkpPort))) return words;
  return [`hkp:http://127.0.0.1:${hkpPort}`];
}

/** The places that `findServers` searches, for the operator. */
export function whereLooked({ root, hkpPort }: Places): string {
  const paths = USUAL.map(([, folder, file]) => join(root, folder, file));
  return `${paths.join(", ")}; 127.0.0.1:${hkpPort}`;
}

/** The keyserver that a value of `--local` names. Throws `Refusal`, `NoInput`. */
export function serverOf(word: string): LocalServer {
  const [, name = "", where = ""] = /^([a-z]+):(.+)$/.exec(word) ?? [];
  if (name === "hkp") {
    const url = parseKeyserver(where);
    if ("fault" in url) throw new Refusal("bad-request", `--local ${word}: ${url.fault}`);
    const lines = [
      'type = "hkp"   # updates are sent as POST /pks/add',
      `url = ${tomlString(url.value)}`,
    ];
    const beside = followLines(url.value);
    const nothing = { site: undefined, contact: undefined, neighbours: 0 };
    return { word, lines, beside, ...nothing, software: "", samples: [] };
  }
  const kind = kindOf(name);
  if (kind === undefined) {
    const kinds = KIND_NAMES.map((known) => `${known}:PATH`).join(", ");
    throw new Refusal("bad-request", `the value of --local is auto, none, ${kinds} or hkp:URL`);
  }
  const draft = draftOf([where], kind, undefined);
  return {
    word,
    lines: localLines(draft),
    beside: besideLines(draft),
    site: draft.site?.value,
    contact: draft.contact?.value,
    neighbours: draft.peers.length,
    software: "",
    samples: draft.left
      .filter(({ why }) => why.includes(SAMPLE))
      .map(({ place, key, why }) => `${place}: ${key}: ${why}`),
  };
}

/** A proposal to follow a keyserver whose kind is not known, on the usual port before HKP's. */
function followLines(url: string): string[] {
  const { hostname, port } = new URL(url);
  const recon = Number(port) - 1;
  if (recon < 1) return [];
  return [
    "\n# If it is a Hockeypuck or SKS, its changes can be followed (docs/neighbours.md):",
    "# [[recon]]",
    `# server = ${tomlString(`${hostname}:${recon}`)}`,
    `# hkp = ${tomlString(url)}`,
  ];
}

/** Whether a port of this host accepts connections. */
export async function listens(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port, timeout: CONNECT_MS });
    const end = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.on("connect", () => end(true));
    socket.on("error", () => end(false));
    socket.on("timeout", () => end(false));
  });
}

/** Why the files of a keyserver cannot be read; any other error is thrown again. */
export function obstacle(error: unknown): string {
  if (error instanceof Refusal || error instanceof NoInput) return error.message;
  throw error;
}
