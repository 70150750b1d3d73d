/**
 * Fields with control bytes, with 64 KiB of text and with what paints a terminal, through the
 * diagnostics in all three forms (row 45). A line of ours is one line, bounded, and holds no
 * character that a terminal obeys. Control: a log that prints what it is given.
 */
import { diagnosticsLog, type LogForm } from "../../../src/cli/diagnostics-log.js";
import { type Check, type Context, controlOf, goesOn } from "../check.js";

const FORMS: readonly LogForm[] = ["json", "journal", "terminal"];
const MOST_CHARS = 2500;
const LARGE = 64 * 1024;
/** C0 but the line's end, DEL, C1, the line and paragraph separators, and what turns text round. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const OBEYED = /[\0-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/u;
/** What the terminal form says itself. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is said
const PAINT = /^\x1b\[2m\d\d:\d\d:\d\d\x1b\[0m \x1b\[[\d;]+m\w+ *\x1b\[0m /;

export const logLines: Check = {
  name: "log-lines",
  rows: [45],
  promise: "nothing that strangers write is obeyed by a terminal or fills the log",
  runs: 100_000,
  share: 0.3,
  async run(context) {
    let text = "";
    const write = (part: string) => {
      text += part;
    };
    const logs = FORMS.map((form) => {
      const log = diagnosticsLog("info", { write }, form);
      return { form, print: (fields: Record<string, string>) => log.report("retry", fields) };
    });
    const take = () => {
      const taken = text;
      text = "";
      return taken;
    };
    const real = tried(context, logs, take);
    const naive = {
      form: "journal" as const,
      print: (fields: Record<string, string>) => {
        text += `<4>retry: words=${fields.words} name=${fields.name}\n`;
      },
    };
    const control = tried(controlOf(context, 300), [naive], take);
    return {
      faults: real.faults.slice(0, 5),
      figures:
        `${real.lines} lines of 3 forms with ${real.fields} hostile fields: ` +
        `${real.faults.length} with a raw control character, longest ${real.longest} characters`,
      control: {
        caught: control.faults.length > 50,
        figures: `printed as they are: ${control.faults.length} of ${control.lines} lines`,
      },
    };
  },
};

interface Log {
  readonly form: LogForm;
  print(fields: Record<string, string>): void;
}

function tried(context: Context, logs: readonly Log[], take: () => string) {
  const faults: string[] = [];
  let [lines, fields, longest] = [0, 0, 0];
  for (let n = 0; goesOn(context, fields, 100); n += 1) {
    const values = { words: hostile(context.random, n), name: hostile(context.random, n + 1) };
    fields += 2;
    for (const { form, print } of logs) {
      print(values);
      const said = take();
      lines += 1;
      longest = Math.max(longest, said.length);
      const line = form === "terminal" ? said.replace(PAINT, "") : said;
      const isOne = line.indexOf("\n") === line.length - 1;
      if (!isOne || OBEYED.test(line) || said.length > MOST_CHARS) {
        faults.push(`${form}: ${JSON.stringify(said.slice(0, 300))}`);
      }
    }
  }
  return { faults, lines, fields, longest };
}

function hostile(random: () => number, n: number): string {
  const length = n % 100 === 0 ? LARGE : 1 + Math.floor(random() * 60);
  const piece = () => {
    const kind = Math.floor(random() * 6);
    const at = (low: number, high: number) => low + Math.floor(random() * (high - low + 1));
    if (kind === 0) return String.fromCharCode(at(0, 0x1f));
    if (kind === 1) return String.fromCharCode(at(0x7f, 0x9f));
    if (kind === 2) return String.fromCharCode(at(0x2028, 0x202e));
    if (kind === 3) return ["\x1b[2J", "\r\nFake: line", '"', "\\", "\ud800"][at(0, 4)] ?? "";
    return String.fromCharCode(at(0x20, 0x7e));
  };
  return Array.from({ length }, piece).join("");
}
