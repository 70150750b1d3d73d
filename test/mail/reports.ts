/**
 * Bounces and what is taken for them, in the shapes of the mail systems that write them, each with
 * what it has to be understood as. Names are made up; structure, headers and wording are not.
 */
import type { BounceVerdict } from "../../src/mail/delivery-report.js";

export interface Sample {
  readonly name: string;
  readonly raw: string;
  readonly kind: BounceVerdict["kind"];
  readonly status?: string;
  readonly code?: number;
}

const TO = "pgp-bounces+old=7=0123456789@kx.example.org";
const OURS = `To: pgp-public-keys@pks.example.net
From: PGP Key Server Administrator <keymaster@example.org>
Subject: incremental
X-KeyServer-Sent: pgp-public-keys@kx.example.org
Content-type: application/pgp-keys

-----BEGIN PGP PUBLIC KEY BLOCK-----
`;

/** A report as most write it: what happened, the fields, our own head. */
function report(
  head: string,
  text: string,
  fields: string,
  type = "message/delivery-status",
): string {
  return `${head}
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
 boundary="A1B2C3/mx.example.net"

This is a MIME-encapsulated message.

--A1B2C3/mx.example.net
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

${text}

--A1B2C3/mx.example.net
Content-Description: Delivery report
Content-Type: ${type}

${fields}
--A1B2C3/mx.example.net
Content-Description: Undelivered Message
Content-Type: message/rfc822

${OURS}
--A1B2C3/mx.example.net--
`;
}

const POSTFIX_HEAD = `Date: Mon, 23 Nov 2026 12:00:00 +0000 (UTC)
From: MAILER-DAEMON@mx.example.net (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: ${TO}
Auto-Submitted: auto-replied`;

const POSTFIX_TEXT = `This is the mail system at host mx.example.net.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.`;

function postfix(action: string, status: string, diagnostic: string): string {
  return report(
    POSTFIX_HEAD,
    POSTFIX_TEXT,
    `Reporting-MTA: dns; mx.example.net
X-Postfix-Queue-ID: 4XyZ1k2Jq9z1
X-Postfix-Sender: rfc822; ${TO}
Arrival-Date: Mon, 23 Nov 2026 11:59:58 +0000 (UTC)

Final-Recipient: rfc822; pgp-public-keys@pks.example.net
Original-Recipient: rfc822;pgp-public-keys@pks.example.net
Action: ${action}
Status: ${status}
Remote-MTA: dns; pks.example.net
Diagnostic-Code: ${diagnostic}
`,
  );
}

function plain(head: string, text: string): string {
  return `${head}\nTo: ${TO}\n\n${text}\n`;
}

const QMAIL = (line: string) =>
  plain(
    "From: MAILER-DAEMON@mx.example.net\nSubject: failure notice",
    `Hi. This is the qmail-send program at mx.example.net.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<pgp-public-keys@pks.example.net>:
${line}

--- Below this line is a copy of the message.

Return-Path: <${TO}>
X-Comment: 552 5.3.4 is said by nobody here
${OURS}`,
  );

const EXIM_HEAD = `X-Failed-Recipients: pgp-public-keys@pks.example.net
Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@mx.example.net>`;

const EXIM_TEXT = (
  line: string,
) => `This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  pgp-public-keys@pks.example.net
    host pks.example.net [192.0.2.7]
    SMTP error from remote mail server after RCPT TO:<pgp-public-keys@pks.example.net>:
    ${line}

------ This is a copy of the message, including all the headers. ------

${OURS}`;

const SENDMAIL = (status: string, diagnostic: string) =>
  report(
    `From: Mail Delivery Subsystem <MAILER-DAEMON@mx.example.net>
To: <${TO}>
Subject: Returned mail: see transcript for details
Auto-Submitted: auto-generated (failure)`,
    `The original message was received at Mon, 23 Nov 2026 12:00:00 GMT
from localhost [127.0.0.1]

   ----- The following addresses had permanent fatal errors -----
<pgp-public-keys@pks.example.net>

   ----- Transcript of session follows -----
... while talking to pks.example.net.:
>>> DATA
<<< ${diagnostic}`,
    `Reporting-MTA: dns; mx.example.net
Received-From-MTA: DNS; localhost
Arrival-Date: Mon, 23 Nov 2026 12:00:00 GMT

Final-Recipient: RFC822; pgp-public-keys@pks.example.net
Action: failed
Status: ${status}
Remote-MTA: DNS; pks.example.net
Diagnostic-Code: SMTP; ${diagnostic}
Last-Attempt-Date: Mon, 23 Nov 2026 12:00:01 GMT
`,
  );

const EXCHANGE = (status: string, diagnostic: string) =>
  report(
    `From: <postmaster@example.net>
To: <${TO}>
Subject: Undeliverable: incremental
X-MS-Exchange-Message-Is-Ndr:
Auto-Submitted: auto-replied`,
    "Your message to pgp-public-keys@pks.example.net couldn't be delivered.",
    `Reporting-MTA: dns;AM0PR01MB1234.eurprd01.prod.exchangelabs.example
Received-From-MTA: dns;mx.example.net
Arrival-Date: Mon, 23 Nov 2026 12:00:00 +0000

Final-Recipient: rfc822;pgp-public-keys@pks.example.net
Action: failed
Status: ${status}
Diagnostic-Code: smtp;${diagnostic}
X-Display-Name: pgp-public-keys@pks.example.net
`,
  );

/** Some take the type of the fields away, some encode them, some cut them off. */
const BROKEN: readonly Sample[] = [
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
      `${Buffer.from("Reporting-MTA: dns; a\n\nFinal-Recipient: rfc822; a@b\nAction: delayed\n").toString("base64")}\n`,
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

export const SAMPLES: readonly Sample[] = [
  {
    name: "Postfix: no such user",
    raw: postfix(
      "failed",
      "5.1.1",
      "smtp; 550 5.1.1 <pgp-public-keys@pks.example.net>:\n    Recipient address rejected: User unknown in local recipient table",
    ),
    kind: "site",
    status: "5.1.1",
    code: 550,
  },
  {
    name: "Postfix: mailbox full",
    raw: postfix("failed", "5.2.2", "smtp; 552 5.2.2 Mailbox size limit exceeded"),
    kind: "site",
    status: "5.2.2",
    code: 552,
  },
  {
    name: "Postfix: host not found",
    raw: postfix("failed", "5.4.4", "X-Postfix; Host or domain name not found."),
    kind: "site",
    status: "5.4.4",
  },
  {
    name: "Postfix: expired in the queue",
    raw: postfix(
      "failed",
      "4.4.1",
      "X-Postfix; connect to pks.example.net[192.0.2.7]:25: timed out",
    ),
    kind: "site",
    status: "4.4.1",
  },
  {
    name: "Postfix: too large for the system",
    raw: postfix("failed", "5.3.4", "smtp; 552 5.3.4 Message size exceeds fixed limit"),
    kind: "update",
    status: "5.3.4",
    code: 552,
  },
  {
    name: "Postfix: media not supported",
    raw: postfix("failed", "5.6.1", "smtp; 554 5.6.1 Body type not supported by Remote Host"),
    kind: "update",
    status: "5.6.1",
    code: 554,
  },
  {
    name: "Postfix: content filter",
    raw: postfix("failed", "5.7.1", "smtp; 550 5.7.1 Message content rejected, UBE, id=1234-01"),
    kind: "update",
    status: "5.7.1",
  },
  {
    name: "Postfix: relay access denied",
    raw: postfix("failed", "5.7.1", "smtp; 554 5.7.1 <x@y>: Relay access denied"),
    kind: "site",
    status: "5.7.1",
  },
  {
    name: "Postfix: delayed",
    raw: postfix("delayed", "4.4.1", "X-Postfix; connect to pks.example.net: timed out"),
    kind: "noted",
    status: "4.4.1",
  },
  {
    name: "Postfix: relayed",
    raw: postfix("relayed", "2.0.0", "smtp; 250 2.0.0 Ok: queued"),
    kind: "noted",
    status: "2.0.0",
  },
  {
    name: "Postfix: delivered",
    raw: postfix("delivered (to mailbox)", "2.0.0", "smtp; 250 2.0.0 Ok"),
    kind: "noted",
    status: "2.0.0",
  },
  {
    name: "two recipients behind an alias, one failed",
    raw: postfix(
      "expanded",
      "2.0.0",
      "smtp; 250 2.0.0 Ok\n\nFinal-Recipient: rfc822; a@b.example\nAction: failed\nStatus: 5.2.1\nDiagnostic-Code: smtp; 550 5.2.1 Mailbox disabled",
    ),
    kind: "site",
    status: "5.2.1",
  },
  {
    name: "an internationalised report",
    raw: postfix("failed", "5.6.7", "smtp; 550 5.6.7 EAI not supported").replace(
      "message/delivery-status",
      "message/global-delivery-status",
    ),
    kind: "update",
    status: "5.6.7",
  },
  {
    name: "sendmail: user unknown",
    raw: SENDMAIL("5.1.1", "550 5.1.1 <pgp-public-keys@pks.example.net>... User unknown"),
    kind: "site",
    status: "5.1.1",
  },
  {
    name: "sendmail: too big, without a code of its own",
    raw: SENDMAIL("5.0.0", "552 Message size exceeds maximum permitted"),
    kind: "update",
    status: "5.0.0",
    code: 552,
  },
  {
    name: "sendmail: quota, without a code of its own",
    raw: SENDMAIL("5.0.0", "552 Requested mail action aborted: exceeded storage allocation"),
    kind: "site",
    status: "5.0.0",
    code: 552,
  },
  {
    name: "sendmail: a vague status beside an exact reply",
    raw: SENDMAIL("5.0.0", "554 5.6.0 Data format error"),
    kind: "update",
    status: "5.6.0",
  },
  {
    name: "Exchange: recipient not found",
    raw: EXCHANGE("5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found by SMTP"),
    kind: "site",
    status: "5.1.10",
  },
  {
    name: "Exchange: larger than the recipient may get",
    raw: EXCHANGE("5.2.3", "550 5.2.3 RESOLVER.RST.RecipSizeLimit; message too large"),
    kind: "update",
    status: "5.2.3",
  },
  {
    name: "Exchange: not allowed to send",
    raw: EXCHANGE("5.7.133", "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup"),
    kind: "site",
    status: "5.7.133",
  },
  {
    name: "Exim with a report",
    raw: report(
      `${EXIM_HEAD}\nTo: ${TO}\nSubject: Mail delivery failed: returning message to sender`,
      EXIM_TEXT("550 No such user here"),
      `Reporting-MTA: dns; mx.example.net

Action: failed
Final-Recipient: rfc822;pgp-public-keys@pks.example.net
Status: 5.0.0
Remote-MTA: dns; pks.example.net
Diagnostic-Code: smtp; 550 No such user here
`,
    ),
    kind: "site",
    status: "5.0.0",
    code: 550,
  },
  {
    name: "Exim in plain text",
    raw: plain(
      `${EXIM_HEAD}\nSubject: Mail delivery failed: returning message to sender`,
      EXIM_TEXT("550 5.1.1 No such user here"),
    ),
    kind: "site",
    status: "5.1.1",
    code: 550,
  },
  {
    name: "Exim in plain text: too large",
    raw: plain(
      `${EXIM_HEAD}\nSubject: Mail delivery failed: returning message to sender`,
      EXIM_TEXT("552 message too large: size limit for each recipient is 102400"),
    ),
    kind: "update",
    code: 552,
  },
  {
    name: "Exim in plain text: delayed",
    raw: plain(
      `Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@mx.example.net>
Subject: Warning: message 1abcDE-0001Xy-2Z delayed 24 hours`,
      "A message that you sent has not yet been delivered after more than 24 hours.",
    ),
    kind: "noted",
  },
  {
    name: "qmail: no mailbox",
    raw: QMAIL("Sorry, no mailbox here by that name. (#5.1.1)"),
    kind: "site",
    status: "5.1.1",
  },
  {
    name: "qmail: no code but in our own mail",
    raw: QMAIL("Sorry, I couldn't find any host by that name."),
    kind: "site",
    code: 550,
  },
  {
    name: "qmail: the remote host's words",
    raw: QMAIL(
      "192.0.2.7 failed after I sent the message.\nRemote host said: 552 5.2.3 Message exceeds local size limit.",
    ),
    kind: "update",
    status: "5.2.3",
    code: 552,
  },
  {
    name: "a bounce in no language we know",
    raw: plain("From: <poste@mx.example.net>\nSubject: Votre courriel", "Destinataire inconnu."),
    kind: "site",
  },
  {
    name: "a vacation note",
    raw: plain(
      "From: Keymaster <k@pks.example.net>\nSubject: Re: incremental\nAuto-Submitted: auto-replied (vacation)\nPrecedence: bulk",
      "I am away until Monday. 550 5.1.1 is my door number.",
    ),
    kind: "answer",
  },
  {
    name: "out of the office",
    raw: plain(
      "From: <k@pks.example.net>\nSubject: Automatic reply: incremental\nX-Autoreply: yes",
      "Gone.",
    ),
    kind: "answer",
  },
  {
    name: "pksd's answer to an ADD",
    raw: plain(
      "From: PGP Key Server <pgp-public-keys@pks.example.net>\nSubject: Your command, ADD",
      "Key block added to key server database.",
    ),
    kind: "answer",
  },
  {
    name: "a receipt",
    raw: report(
      "From: <k@pks.example.net>\nSubject: Read: incremental",
      "It was read.",
      "",
    ).replace("report-type=delivery-status", "report-type=disposition-notification"),
    kind: "answer",
  },
  ...BROKEN,
];
