/**
 * `kxgw completion bash|zsh|fish`: a completion script generated from the command table, so that
 * both always agree. It completes commands, subcommands and options, and file names as arguments.
 */
import { EXIT } from "../errors.js";
import type { Output } from "./output.js";

/** What completion needs of a command; the classes of commander have this shape. */
export interface CommandTable {
  name(): string;
  description(): string;
  readonly commands: readonly CommandTable[];
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
}

/** Prints the completion script of a shell; 64 for an unknown shell. */
export function completionCommand(shell: string, program: CommandTable, out: Output): number {
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
    default:
      out.stderr(`kxgw: no completion for ${JSON.stringify(shell)}: write bash, zsh or fish\n`);
      return EXIT.usage;
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
  const below = command.commands.flatMap((one) => tableOf(one, `${path} ${one.name()}`.trim()));
  return [{ path, words }, ...below];
}

function bash(all: readonly Words[]): string {
  const cases = all.map(({ path, words }) => {
    const list = words.map(({ word }) => word).join(" ");
    return `    ${JSON.stringify(path)}) words=${JSON.stringify(list)} ;;`;
  });
  const paths = all.map(({ path }) => path).filter((path) => path !== "");
  return `# kxgw completion bash > /etc/bash_completion.d/kxgw
_kxgw() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}" path="" words i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "\${path:+$path }\${COMP_WORDS[i]}" in
      ${paths.map((path) => JSON.stringify(path)).join("|")})
        path="\${path:+$path }\${COMP_WORDS[i]}" ;;
    esac
  done
  case "$path" in
${cases.join("\n")}
  esac
  if [[ "$prev" == -c || "$prev" == --config ]] ||
    [[ "$cur" != -* && -n "$path" && "$words" != [a-z]* ]]; then
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
  return `# kxgw completion fish > ~/.config/fish/completions/kxgw.fish\n${lines.join("\n")}\n`;
}
