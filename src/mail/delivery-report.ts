/**
 * Classifies a mail to the bounce address: a bounce because of the contents of our mail, a bounce
 * because of its destination, or a mail that needs no action. The input is a delivery report
 * (RFC 3464), malformed or not, or a plain text as qmail and Exim send it. The bounce address
 * itself names the site and the update (`verp.ts`).
 *
 * Bounces and automatic answers look alike (Postfix and Exim mark both "auto-replied", RFC 3834). A
 * mail counts as a bounce unless it is clearly an answer, since sending a mail again costs less
 * than losing it. Limit: only English texts are understood; otherwise the status codes decide.
 */
import { Refusal } from "../errors.js";
import { type HeaderField, headerValues, readHead } from "./head.js";
import { isAutomaticAnswer } from "./incremental.js";

/** A decoded leaf of the MIME tree of a mail. */
export interface ReportPart {
  /** Media type in lower case, without parameters. */
  readonly type: string;
  readonly bytes: Uint8Array;
}

/** The fields of one recipient in a report, as far as they are present and well-formed. */
export interface RecipientReport {
  readonly action: "failed" | "delayed" | "delivered" | "relayed" | "expanded" | undefined;
  /** Enhanced status code (RFC 3463), as "5.1.1". */
  readonly status: string | undefined;
  /** The text of the other server, printable; may be empty. */
  readonly diagnostic: string;
  /** Address, printable. */
  readonly recipient: string | undefined;
}

/** The result for our mail. */
export interface BounceVerdict {
  /**
   * 'update': refused because of its contents or its size. 'site': refused because of the mailbox,
   * the host or the route, or for an unknown reason. 'noted': delayed or delivered. 'answer': not a
   * report.
   */
  readonly kind: "update" | "site" | "noted" | "answer";
  readonly status: string | undefined;
  /** SMTP reply code; 550 when the report has none. */
  readonly code: number;
  /** The text of the other server, printable, at most 300 characters. */
  readonly words: string;
}

const MAX_GROUPS = 100;
/** Octets of a text that are searched for codes. */
const MAX_TEXT = 65_536;
const LF = 0x0a;

const ACTION = /^(failed|delayed|delivered|relayed|expanded)\b/i;
const STATUS = /\b([245]\.\d{1,3}\.\d{1,3})\b/;
/** An SMTP reply as mail systems quote it: "550 5.1.1 ..." or "550-5.1.1". */
const REPLY = /(?:^|[^\d.])([45]\d\d)(?:[ -]#?([45]\.\d{1,3}\.\d{1,3})\b|[ -](?=\D))/;

/** Message too large for mailbox or system, or content not supported (RFC 3463). */
const ABOUT_UPDATE = /^5\.(2\.3|3\.4|6\.\d+)$/;
const ABOUT_CONTENT =
  /content|spam|virus|malware|infected|attachment|banned|phish|unsolicited|\bjunk\b/i;
const ABOUT_SIZE = /too (large|big|long)|(size|length)\b.*(exceed|limit|maxim)|exceed.*\bsize/i;
const ABOUT_QUOTA = /quota|mailbox|storage|disk/i;

const FROM_MACHINE = /mailer-daemon|postmaster|mail delivery (sub)?system/i;
const FAILURE_SUBJECT =
  /failure notice|undeliver|non-?deliver|return(ed mail|ing)|delivery .*fail|fail.* delivery/i;
const DELAY_SUBJECT = /\bdelay|\bwarning\b|still being retried|not yet|could not send .* for/i;
/** Disposition notifications (RFC 8098) and feedback reports (RFC 5965). */
const OTHER_REPORT = /report-type\s*=\s*"?(disposition-notification|feedback-report)/i;
/** Marks the start of our own mail in a bounce; the text after it is not a report. */
const OUR_COPY = /below this line is a copy|this is a copy of the message|original message/i;

/** Classifies a mail by the fields of its head and its decoded parts. Never throws. */
export function judgeBounce(
  fields: readonly HeaderField[],
  parts: readonly ReportPart[],
): BounceVerdict {
  const reports = reportsIn(parts);
  const failed = reports.find(isFailure);
  if (failed !== undefined) return failureOf(failed.status, failed.diagnostic);
  const noted = reports.find(({ action, status }) => (action ?? status) !== undefined);
  if (noted !== undefined) {
    const { status, diagnostic: words } = noted;
    return { kind: "noted", status, code: 250, words };
  }
  const subject = printable(headerValues(fields, "Subject")[0] ?? "");
  const from = printable(headerValues(fields, "From")[0] ?? "");
  const type = printable(headerValues(fields, "Content-Type")[0] ?? "");
  const isReport =
    FROM_MACHINE.test(from) ||
    FAILURE_SUBJECT.test(subject) ||
    headerValues(fields, "X-Failed-Recipients").length > 0 ||
    /^multipart\/report\b/i.test(type);
  if (OTHER_REPORT.test(type) || (!isReport && isAutomaticAnswer(fields))) {
    return { kind: "answer", status: undefined, code: 250, words: subject };
  }
  if (DELAY_SUBJECT.test(subject) && !FAILURE_SUBJECT.test(subject)) {
    return { kind: "noted", status: undefined, code: 250, words: subject };
  }
  const text = parts.find(({ type }) => type === "text/plain" || type === "");
  const said = text === undefined ? "" : spoken(text.bytes);
  return failureOf(undefined, said === "" ? subject : said);
}

/** The recipients of the first part that is a delivery report; [] without one. */
function reportsIn(parts: readonly ReportPart[]): RecipientReport[] {
  const declared = parts.find(({ type }) => /^message\/(global-)?delivery-status$/.test(type));
  if (declared !== undefined) return readDeliveryStatus(declared.bytes);
  // Some systems send the report as text/plain, and some relays remove the type.
  for (const { type, bytes } of parts) {
    if (type !== "" && type !== "text/plain" && type !== "application/octet-stream") continue;
    const reports = readDeliveryStatus(bytes);
    if (reports.some(({ action, recipient }) => action && recipient)) return reports;
  }
  return [];
}

/** The recipients of a message/delivery-status part. Unknown fields are ignored. */
export function readDeliveryStatus(part: Uint8Array): RecipientReport[] {
  const reports: RecipientReport[] = [];
  for (const fields of groupsOf(part)) {
    const value = (name: string) => headerValues(fields, name)[0];
    const recipient = value("Final-Recipient") ?? value("Original-Recipient");
    const action = ACTION.exec(value("Action") ?? "")?.[1]?.toLowerCase();
    const status = STATUS.exec(value("Status") ?? "")?.[1];
    if (recipient === undefined && action === undefined && status === undefined) continue;
    reports.push({
      action: action as RecipientReport["action"],
      status,
      diagnostic: printable((value("Diagnostic-Code") ?? "").replace(/^[\w-]+\s*;\s*/, "")),
      recipient: recipient && printable(recipient.replace(/^[\w-]+\s*;\s*/, "")),
    });
  }
  return reports;
}

/** Groups of header fields. An empty line or a line that is not a field ends a group. */
function groupsOf(part: Uint8Array): (readonly HeaderField[])[] {
  const groups: (readonly HeaderField[])[] = [];
  let at = 0;
  while (at < part.length && groups.length < MAX_GROUPS) {
    const rest = part.subarray(at);
    let length: number;
    try {
      const { fields, bodyStart } = readHead(rest);
      if (fields.length > 0) groups.push(fields);
      length = bodyStart;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return groups;
    }
    if (length === 0) {
      const lineFeed = rest.indexOf(LF);
      length = lineFeed === -1 ? rest.length : lineFeed + 1;
    }
    at += length;
  }
  return groups;
}

/** Whether the action is "failed", or, without an action, the status is permanent. */
function isFailure({ action, status }: RecipientReport): boolean {
  return action === undefined ? status?.startsWith("5.") === true : action === "failed";
}

/** The result for a failure, by the most specific code in the report. */
function failureOf(told: string | undefined, text: string): BounceVerdict {
  const [, reply, quoted] = REPLY.exec(text) ?? [];
  const found = quoted ?? STATUS.exec(text)?.[1];
  const isVague = told === undefined || told.endsWith(".0.0");
  const status = isVague ? (found ?? told) : told;
  const code = reply === undefined ? 550 : Number(reply);
  const kind = isAboutUpdate(status, code, text) ? "update" : "site";
  return { kind, status, code, words: text };
}

function isAboutUpdate(status: string | undefined, code: number, text: string): boolean {
  if (status !== undefined && ABOUT_UPDATE.test(status)) return true;
  if (status?.startsWith("5.7.")) return ABOUT_CONTENT.test(text);
  const isVague = status === undefined || status === "5.0.0" || status === "5.3.0";
  return isVague && code === 552 && ABOUT_SIZE.test(text) && !ABOUT_QUOTA.test(text);
}

/** The first line of a bounce with a code, or its text; without the copy of our own mail. */
function spoken(bytes: Uint8Array): string {
  const piece = bytes.subarray(0, MAX_TEXT);
  const text = Buffer.from(piece.buffer, piece.byteOffset, piece.length).toString("latin1");
  const copy = OUR_COPY.exec(text);
  const said = copy === null ? text : text.slice(0, copy.index);
  const line = said.split("\n").find((each) => REPLY.test(each) || STATUS.test(each));
  return printable(line ?? said);
}

function printable(text: string): string {
  return text
    .replace(/[^\x20-\x7e]+/g, " ")
    .trim()
    .slice(0, 300);
}
