/**
 * Text of the operator's file made fit for a message: short, on one line, and without anything
 * that a terminal could obey. Knows nothing of what the text means: whoever quotes a value has to
 * know that it is no secret. Only a password in a URL, which may have slipped into the wrong key,
 * is taken out here.
 */

/** Longest piece of somebody's text in a message, in characters. */
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
