/**
 * As much of man(7) as our pages need: text that no macro can come out of, and the few macros
 * around it. Input lines end at sentences or before 80 columns, as mandoc's lint wants it.
 */

/** Text as roff reads it back: backslashes, leading dots and quotes, hyphens that stay hyphens. */
export function plain(text: string): string {
  return wrapped(escaped(text));
}

export function bold(text: string): string {
  return `\\fB${escaped(text)}\\fR`;
}

export function italic(text: string): string {
  return `\\fI${escaped(text)}\\fR`;
}

export function heading(title: string): string {
  return `.SH ${title}\n`;
}

/** A heading below a heading; spaces stay within it. */
export function subheading(title: string): string {
  return `.SS "${escaped(title).replaceAll('"', "\\(dq")}"\n`;
}

/** A paragraph with a tag; `tag` is roff already. */
export function item(tag: string, text: string): string {
  return `.TP\n${tag}\n${text}`;
}

/** Lines as they are, indented. */
export function example(lines: string): string {
  const text = lines.split("\n").map(escaped).map(guarded).join("\n");
  return `.PP\n.in +4n\n.EX\n${text}\n.EE\n.in\n`;
}

/** `date` as 2026-11-23. */
export function titleLine(name: string, section: number, date: string, version: string): string {
  return `.TH ${name} ${section} ${date} "${version}" "KX gateway"\n`;
}

/** A fingerprint may be broken in two, without a hyphen; nothing else that is long is there. */
function escaped(text: string): string {
  return text
    .replaceAll(/[0-9A-F]{32}(?=[0-9A-F])/g, "$&\u0000")
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll("'", "\\(aq")
    .replaceAll("`", "\\(ga")
    .replaceAll("^", "\\(ha")
    .replaceAll("~", "\\(ti")
    .replaceAll("\u0000", "\\:");
}

/** A line that begins as a request does begins with nothing first. */
function guarded(line: string): string {
  return /^[.']/.test(line) ? `\\&${line}` : line;
}

/** Lines of at most 78 columns, a new one after each sentence. */
function wrapped(text: string): string {
  const lines: string[] = [];
  for (const sentence of text.split(/(?<=[.!?:]) +(?=[A-Z"])|\n/)) {
    let line = "";
    for (const word of sentence.split(/ +/)) {
      if (line !== "" && line.length + word.length >= 78) {
        lines.push(line);
        line = word;
      } else line = line === "" ? word : `${line} ${word}`;
    }
    lines.push(line);
  }
  return `${lines.map(guarded).join("\n")}\n`;
}
