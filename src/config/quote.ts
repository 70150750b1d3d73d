/**
 * Quotes text of the operator's file for a message: short, on one line, and without characters
 * that control a terminal. It does not know the meaning of the text: the caller must
 * know that it is not secret. Only a password in a URL, which may be in a wrong key,
 * is removed here.
 */

/** Maximum length of quoted text, in characters. */
const MAX_QUOTED = 60;

/** `text` in double quotes, at most 60 characters, no user of a URL, \u for all but plain ASCII. */
export function quoted(text: string): string {
  const bare = text.replace(/:\/\/.*@/s, "://...@");
  const cut = bare.length > MAX_QUOTED ? `${bare.slice(0, MAX_QUOTED)}...` : bare;
  return JSON.stringify(cut).replace(
    /[^ -~]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
