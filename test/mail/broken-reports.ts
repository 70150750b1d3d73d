/** Reports that are broken, mangled or none, each with what is to be made of it all the same. */
import { POSTFIX_HEAD, POSTFIX_TEXT, postfix, report, type Sample } from "./bounce-shapes.js";

export const BROKEN: readonly Sample[] = [
  {
    name: "a report without its fields",
    raw: report(POSTFIX_HEAD, POSTFIX_TEXT, "", "text/x-nothing"),
    kind: "site",
  },
  { name: "empty fields", raw: report(POSTFIX_HEAD, POSTFIX_TEXT, ""), kind: "site" },
  {
    name: "fields called text/plain",
    raw: postfix("failed", "5.6.1", "smtp; 554 5.6.1 Unsupported").replace(
      "message/delivery-status",
      "text/plain",
    ),
    kind: "update",
    status: "5.6.1",
  },
  {
    name: "fields in base64",
    raw: report(
      POSTFIX_HEAD,
      POSTFIX_TEXT,
      `${btoa("Reporting-MTA: dns; a\n\nFinal-Recipient: rfc822; a@b\nAction: delayed\n")}\n`,
      "message/delivery-status\nContent-Transfer-Encoding: base64",
    ),
    kind: "noted",
  },
  {
    name: "no action, a final status",
    raw: postfix("", "5.1.1", "smtp; 550 5.1.1 No such user"),
    kind: "site",
    status: "5.1.1",
    code: 550,
  },
  {
    name: "an action nobody knows, a status that is none",
    raw: postfix("kaputt", "quite bad", "smtp; 552 5.3.4 Message size exceeds fixed limit"),
    kind: "site",
  },
  {
    name: "a status that is none, a reply that is one",
    raw: postfix("failed", "n/a", "smtp; 552 5.3.4 Message size exceeds fixed limit"),
    kind: "update",
    status: "5.3.4",
    code: 552,
  },
  {
    name: "folded and in other letters, with a comment",
    raw: postfix(
      "FAILED (permanent)",
      "5.2.3 (message too big)",
      "smtp; 552\n   5.2.3 Message length\n\texceeds administrative limit",
    ),
    kind: "update",
    status: "5.2.3",
    code: 552,
  },
  {
    name: "junk between the fields",
    raw: postfix("failed", "5.1.2", "smtp; 550 5.1.2 Bad domain").replace(
      "Action:",
      "this is no field\n???\nAction:",
    ),
    kind: "site",
    status: "5.1.2",
  },
  {
    name: "a boundary that never comes",
    raw: postfix("failed", "5.1.1", "smtp; 550 5.1.1 No").replaceAll("\n--A1B2C3", "\n--ZZZ"),
    kind: "site",
  },
  {
    name: "cut off in the fields",
    raw: postfix("failed", "5.6.0", "x").replace(/(Status: 5\.6\.0)[\s\S]*/, "$1"),
    kind: "update",
    status: "5.6.0",
  },
  { name: "nothing at all", raw: "", kind: "site" },
  { name: "only a head", raw: "Subject: x\n", kind: "site" },
  { name: "bytes", raw: "\0\xff\xfe\r\r\n\n\0".repeat(50), kind: "site" },
];
