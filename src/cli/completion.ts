/**
 * `kxgw completion bash|zsh|fish`: a completion script generated from the command table, so that
 * both always agree. It completes commands, subcommands and options, names of neighbours where a
 * command takes one, and file names as other arguments. For the names the script calls
 * `kxgw completion neighbours`, which reads the config and needs no running gateway.
 */
import { readFileSync } from "node:fs";
import { parse } from "smol-toml";
import { EXIT } from "../errors.js";
import type { Output } from "./output.js";

/** What completion needs of a command; the classes of commander have this shape. */
export interface CommandTable {
  name(): string;
  description(): string;
  readonly commands: readonly CommandTable[];
  readonly registeredArguments: readonly { name(): string }[];
  readonly options: readonly {
    readonly long?: string | undefined;
    readonly short?: string | undefined;
    readonly description: string;
  }[];
}

interface Words {
  /** "", "peers", "peers show". */
  readonly path: string;
  readonly words: readonly { readonly word: string; readonly about: string }[];
  /** Whether its first argument is a neighbour. */
  readonly takesNeighbour: boolean;
}

/** A valid name. The full check of a config is not loaded here: it is too slow for completion. */
const PLAIN = /^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/;

/** Names of arguments that are a neighbour, in the command table. */
const NEIGHBOUR_ARGUMENTS = ["name", "peer", "site"];

/**
 * Prints the completion script of a shell, or for "neighbours" the names in the config `file`, none
 * if it cannot be read; 64 for an unknown shell.
 */
export function completionCommand(
  shell: string,
  program: CommandTable,
  out: Output,
  file = "",
): number {
  const all = tableOf(program, "");
  switch (shell) {
    case "bash":
      out.stdout(bash(all));
      return EXIT.ok;
    case "zsh":
      out.stdout(`#compdef kxgw\nautoload -U +X bashcompinit && bashcompinit\n${bash(all)}`);
      return EXIT.ok;
    case "fish":
      out.stdout(fish(all));
      return EXIT.ok;
    case "neighbours":
      out.stdout(
        neighbourNames(file)
          .map((name) => `${name}\n`)
          .join(""),
      );
      return EXIT.ok;
    default:
      out.stderr(`kxgw: no completion for ${JSON.stringify(shell)}: write bash, zsh or fish\n`);
      return EXIT.usage;
  }
}

/**
 * The names in a config, and [local]. The config is read as TOML and not checked: one with a fault
 * has names as well, and a message would disturb the command line.
 */
function neighbourNames(file: string): string[] {
  try {
    const { peer, local } = parse(readFileSync(file, "utf8")) as Record<string, unknown>;
    const names = (Array.isArray(peer) ? peer : []).flatMap((one: { readonly name?: unknown }) => {
      return typeof one.name === "string" && PLAIN.test(one.name) ? [one.name] : [];
    });
    return local === undefined ? names : [...names, "[local]"];
  } catch {
    return [];
  }
}

function tableOf(command: CommandTable, path: string): Words[] {
  const words = [
    ...command.commands.map((one) => ({ word: one.name(), about: one.description() })),
    ...command.options.flatMap(({ long, short, description }) =>
      [long, short].flatMap((word) => (word === undefined ? [] : [{ word, about: description }])),
    ),
    { word: "--help", about: "print help" },
  ];
  const [argument] = command.registeredArguments;
  const takesNeighbour = NEIGHBOUR_ARGUMENTS.includes(argument?.name() ?? "");
  const below = command.commands.flatMap((one) => tableOf(one, `${path} ${one.name()}`.trim()));
  return [{ path, words, takesNeighbour }, ...below];
}

function bash(all: readonly Words[]): string {
  const cases = all.map(({ path, words }) => {
    const list = words.map(({ word }) => word).join(" ");
    return `    ${JSON.stringify(path)}) words=${JSON.stringify(list)} ;;`;
  });
  const named = all.filter(({ takesNeighbour }) => takesNeighbour).map(({ path }) => path);
  const paths = all.map(({ path }) => path).filter((path) => path !== "");
  // In zsh `path` is PATH, so that no variable has this name.
  return `# kxgw completion bash > /etc/bash_completion.d/kxgw
_kxgw() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}"
  local verb="" words names i given=() seen=0
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "\${verb:+$verb }\${COMP_WORDS[i]}" in
      ${paths.map((path) => JSON.stringify(path)).join("|")})
        verb="\${verb:+$verb }\${COMP_WORDS[i]}"; seen=0 ;;
      *) [[ "\${COMP_WORDS[i]}" == -* ]] || ((seen++)) ;;
    esac
    if [[ "\${COMP_WORDS[i]}" == -c || "\${COMP_WORDS[i]}" == --config ]]; then
      given=(-c "\${COMP_WORDS[i+1]}"); ((seen--))
    fi
  done
  case "$verb" in
${cases.join("\n")}
  esac
  case "$verb" in
    ${named.map((path) => JSON.stringify(path)).join("|")})
      if [[ "$cur" != -* && "$prev" != -c && "$prev" != --config && $seen -eq 0 ]]; then
        set -o noglob
        names="$(kxgw completion neighbours "\${given[@]}" 2>/dev/null)"
        COMPREPLY=( $(compgen -W "$names" -- "$cur") )
        set +o noglob
        return
      fi ;;
  esac
  if [[ "$prev" == -c || "$prev" == --config ]] ||
    [[ "$cur" != -* && -n "$verb" && "$words" != [a-z]* ]]; then
    COMPREPLY=( $(compgen -f -- "$cur") )
  else
    COMPREPLY=( $(compgen -W "$words" -- "$cur") )
  fi
}
complete -o filenames -F _kxgw kxgw
`;
}

function fish(all: readonly Words[]): string {
  const quoted = (text: string) => `'${text.replace(/['\\]/g, "\\$&")}'`;
  const lines = all.flatMap(({ path, words }) => {
    const seen = path.split(" ").filter((word) => word !== "");
    const here =
      seen.length === 0
        ? "__fish_use_subcommand"
        : seen.map((word) => `__fish_seen_subcommand_from ${word}`).join("; and ");
    return words.map(({ word, about }) => {
      const what = word.startsWith("--")
        ? `-l ${word.slice(2)}`
        : word.startsWith("-")
          ? `-s ${word.slice(1)}`
          : `-f -a ${word}`;
      return `complete -c kxgw -n ${quoted(here)} ${what} -d ${quoted(about)}`;
    });
  });
  const names = all.filter(({ takesNeighbour }) => takesNeighbour);
  for (const { path } of names) {
    const seen = path.split(" ").map((word) => `__fish_seen_subcommand_from ${word}`);
    lines.push(
      `complete -c kxgw -f -n ${quoted(seen.join("; and "))} -a '(__kxgw_neighbours)' -d neighbour`,
    );
  }
  return `# kxgw completion fish > ~/.config/fish/completions/kxgw.fish
function __kxgw_neighbours
  set -l words (commandline -opc)
  set -l at (contains -i -- -c $words; or contains -i -- --config $words)
  set -l given
  test -n "$at"; and set given -c $words[(math $at + 1)]
  kxgw completion neighbours $given 2>/dev/null
end
${lines.join("\n")}\n`;
}
