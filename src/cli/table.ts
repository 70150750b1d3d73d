/**
 * Tables for a terminal: columns as wide as their content, numbers aligned right. Control
 * characters are shown as dots, so that text from other servers cannot control the terminal.
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
