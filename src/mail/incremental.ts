/**
 * Recognises a key update in a mail: its command, the sites that have it, and the parts with armor
 * (thesis 2.1; pksd's INCREMENTAL and ADD). The subject is matched on the raw line, as in pksd. The
 * caller decodes MIME and passes the bytes of the parts. The armor is not decoded here.
 *
 * The envelope is not used: keyservers send updates with the null sender as well. A
 * multipart/report is never an update. Limit: an automatic answer without a mark or a known wording
 * is refused like any other mail that is not an update.
 */
import { Refusal } from "../errors.js";
import { type HeaderField, headerValues } from "./head.js";
import { addressesIn, parseTrail } from "./sent-trail.js";

/** A mail with key updates. */
export interface IncrementalMail {
  readonly command: "incremental" | "add";
  /** The X-KeyServer-Sent addresses in order, in their first spelling, each once; all plain. */
  readonly trail: string[];
  /** The first plain address of From, or undefined (Hockeypuck sends none). */
  readonly from: string | undefined;
  /** The Message-ID with its angle brackets, printable ASCII, or undefined. */
  readonly messageId: string | undefined;
  /** The decoded parts with a "-----BEGIN PGP" line, in order, at least one. */
  readonly armor: readonly Uint8Array[];
}

/** An automatic answer, such as pksd's "Your command, ADD": accepted and discarded. */
export interface ReplyMail {
  readonly command: "reply";
}

const UPDATE = /^(incremental|add)\b/i;
const QUERY = /^(help|(verbose )?index|vindex|m?get|last)\b/i;
const PKSD_ANSWER = /^your command\b/i;
const ANSWER =
  /^((re|fwd?|aw|wg|sv|vs|antw|rv|tr)\s*:|auto(matic|mated)?\b|out of (the )?office\b)/i;
const MACHINE_PRECEDENCE = /^(bulk|junk|auto_reply)$/i;
const MESSAGE_ID = /^<[!-;=?-~]{1,990}>$/;
const LF = 0x0a;
const ARMOR_BEGIN = Buffer.from("-----BEGIN PGP", "latin1");

/**
 * Classifies a mail. `fields` are those of its outer head, `parts` the decoded bytes of its MIME
 * parts in order. Throws Refusal 'bad-mail' for a subject that is not an update and for a trail
 * above MAX_TRAIL (a mail loop), 'no-key' for an update without armor.
 */
export function recognise(
  fields: readonly HeaderField[],
  parts: readonly Uint8Array[],
): IncrementalMail | ReplyMail {
  if (isReport(fields)) return { command: "reply" };
  const subject = headerValues(fields, "Subject")[0];
  const command = subject === undefined ? undefined : commandOf(subject);
  if (command === undefined) {
    if (answers(fields, subject ?? "")) return { command: "reply" };
    throw noUpdate(subject);
  }
  const armor = parts.filter(holdsArmor);
  if (armor.length === 0) {
    // RFC 3834: "auto-generated" is not an answer; keyservers may use it for updates.
    if (autoSubmitted(fields) === "auto-replied") return { command: "reply" };
    throw new Refusal("no-key", "The mail has no ASCII-armored PGP public key block.");
  }
  return {
    command,
    trail: parseTrail(headerValues(fields, "X-KeyServer-Sent")),
    from: headerValues(fields, "From").flatMap(addressesIn)[0],
    messageId: headerValues(fields, "Message-ID").find((value) => MESSAGE_ID.test(value)),
    armor,
  };
}

function commandOf(subject: string): IncrementalMail["command"] | undefined {
  const word = UPDATE.exec(subject)?.[1]?.toLowerCase();
  return word === "incremental" || word === "add" ? word : undefined;
}

/** Whether a mail is a report on another mail (RFC 6522); it may include that mail and its key. */
function isReport(fields: readonly HeaderField[]): boolean {
  return /^multipart\/report\b/i.test(headerValues(fields, "Content-Type")[0] ?? "");
}

/** Whether a mail has the mark or a known subject of an automatic answer. */
export function isAutomaticAnswer(fields: readonly HeaderField[]): boolean {
  return answers(fields, headerValues(fields, "Subject")[0] ?? "");
}

/**
 * Whether a mail is an automatic answer: the wording of pksd, the field of RFC 3834, or the marks
 * of older responders. "Precedence: list" does not count, since our own updates have it.
 */
function answers(fields: readonly HeaderField[], subject: string): boolean {
  if (PKSD_ANSWER.test(subject)) return true;
  const automatic = autoSubmitted(fields);
  if (automatic === "auto-replied" || automatic === "auto-notified") return true;
  if (!ANSWER.test(subject)) return false;
  return (
    automatic !== "no" ||
    headerValues(fields, "Precedence").some((value) => MACHINE_PRECEDENCE.test(value)) ||
    ["X-Autoreply", "X-Autorespond"].some((name) => headerValues(fields, name).length > 0)
  );
}

/** The keyword of Auto-Submitted (RFC 3834 section 5) in lower case; 'no' without the field. */
function autoSubmitted(fields: readonly HeaderField[]): string {
  const value = headerValues(fields, "Auto-Submitted")[0] ?? "";
  return /^[a-z-]+/i.exec(value)?.[0].toLowerCase() ?? "no";
}

function noUpdate(subject: string | undefined): Refusal {
  if (subject !== undefined && QUERY.test(subject)) {
    return new Refusal(
      "bad-mail",
      "This gateway only relays key updates. To search or fetch keys, use the web page or the " +
        "HKP port (11371) of a keyserver.",
    );
  }
  const fault =
    subject === undefined ? "The mail has no subject" : "The subject is not a key update";
  return new Refusal("bad-mail", `${fault}: this gateway accepts INCREMENTAL and ADD.`);
}

/** Whether a line of `part` starts with "-----BEGIN PGP" in the first column (RFC 9580). */
function holdsArmor(part: Uint8Array): boolean {
  const bytes = Buffer.from(part.buffer, part.byteOffset, part.length);
  let begin = bytes.indexOf(ARMOR_BEGIN);
  while (begin > 0 && bytes[begin - 1] !== LF) {
    begin = bytes.indexOf(ARMOR_BEGIN, begin + ARMOR_BEGIN.length);
  }
  return begin !== -1;
}
