/**
 * Tables for a terminal: columns as wide as they need to be, numbers to the right. Control
 * characters of foreign words are shown as dots, so that a mail server cannot paint our screen.
 */

export interface Column {
  readonly title: string;
  readonly right?: boolean;
}

/** A table with its head, two spaces between columns, each line ended. */
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

/** `text` without control characters. */
export function plainText(text: string): string {
  return text.replace(/\p{Cc}/gu, ".");
}
