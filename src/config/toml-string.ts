/**
 * A text as a TOML basic string. JSON.stringify cannot be used: TOML requires DEL to be escaped and
 * has no escape for a lone surrogate, which UTF-8 cannot represent and which becomes U+FFFD.
 */

/** `text` in double quotes, on one line; a TOML parser reads the same text back. */
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
