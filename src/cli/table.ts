/**
 * Text for a terminal: tables with columns as wide as their content, numbers aligned right, and
 * lines cut to a width. Control characters are shown as dots, so that text from other servers
 * cannot control the terminal.
 */

export interface Column {
  readonly title: string;
  readonly right?: boolean;
}

/** A table with a header line, two spaces between columns, each line ended. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const widths = columns.map(({ title }, index) =>
    Math.max(title.length, ...rows.map((row) => row[index]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    columns
      .map(({ right }, index) => {
        const cell = plainText(cells[index] ?? "");
        const width = widths[index] ?? 0;
        return right ? cell.padStart(width) : cell.padEnd(width);
      })
      .join("  ")
      .trimEnd();
  const head = line(columns.map(({ title }) => title.toUpperCase()));
  return [head, ...rows.map(line)].map((text) => `${text}\n`).join("");
}

/** `text` with a dot for each control character. */
export function plainText(text: string): string {
  return text.replace(/\p{Cc}/gu, ".");
}

/** Characters that take two columns: East Asian scripts, full-width forms and emoji. */
const WIDE = new RegExp(
  "^(?:[\\u1100-\\u115f\\u2e80-\\ua4cf\\uac00-\\ud7a3\\uf900-\\ufaff\\ufe30-\\ufe6f" +
    "\\uff00-\\uff60]|\\p{Emoji_Presentation}|\\p{Script=Han})",
  "u",
);
const GRAPHEMES = new Intl.Segmenter("en", { granularity: "grapheme" });

/** Columns that a text without control characters takes. */
export function columnsOf(text: string): number {
  let columns = 0;
  for (const { segment } of GRAPHEMES.segment(text)) columns += columnsOfOne(segment);
  return columns;
}

/** `text` in at most `columns` columns; what is cut ends in an ellipsis. */
export function cut(text: string, columns: number): string {
  if (columnsOf(text) <= columns) return text;
  let kept = "";
  let left = columns - 1;
  for (const { segment } of GRAPHEMES.segment(text)) {
    left -= columnsOfOne(segment);
    if (left < 0) break;
    kept += segment;
  }
  return columns < 1 ? "" : `${kept}…`;
}

function columnsOfOne(grapheme: string): number {
  if (WIDE.test(grapheme)) return 2;
  return /^[\p{M}\p{Cf}]/u.test(grapheme) ? 0 : 1;
}
