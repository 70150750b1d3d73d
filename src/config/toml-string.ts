/**
 * A text as a TOML basic string. Not JSON.stringify: TOML wants DEL escaped too, and knows no
 * escape for half of a surrogate pair, which cannot stand in UTF-8 at all and becomes U+FFFD.
 */

/** `text` in double quotes, on one line, so that a TOML parser reads the very text back. */
export function tomlString(text: string): string {
  const escaped = text.replace(/["\\\p{Cc}]/gu, (char) => {
    if (char === '"' || char === "\\") return `\\${char}`;
    return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
  return `"${Buffer.from(escaped, "utf8").toString("utf8")}"`;
}

/** Texts as a TOML array on one line. */
export function tomlList(texts: readonly string[]): string {
  return `[${texts.map(tomlString).join(", ")}]`;
}
