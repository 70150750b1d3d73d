/**
 * How the mail systems write what could not be delivered: Postfix, qmail, Exim, sendmail, Exchange.
 * Names are made up; structure, headers and wording are not. What a bounce says is its sample's.
 */
import type { BounceVerdict } from "../../src/mail/delivery-report.js";

/** A mail, and what it has to be understood as. */
export interface Sample {
  readonly name: string;
  readonly raw: string;
  readonly kind: BounceVerdict["kind"];
  readonly status?: string;
  readonly code?: number;
}

export const TO = "pgp-bounces+old=7=0123456789@kx.example.org";
export const OURS = `To: pgp-public-keys@pks.example.net
From: PGP Key Server Administrator <keymaster@example.org>
Subject: incremental
X-KeyServer-Sent: pgp-public-keys@kx.example.org
Content-type: application/pgp-keys

-----BEGIN PGP PUBLIC KEY BLOCK-----
`;

/** A report as most write it: what happened, the fields, our own head. */
export function report(
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

export const POSTFIX_HEAD = `Date: Mon, 23 Nov 2026 12:00:00 +0000 (UTC)
From: MAILER-DAEMON@mx.example.net (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: ${TO}
Auto-Submitted: auto-replied`;

export const POSTFIX_TEXT = `This is the mail system at host mx.example.net.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.`;

export function postfix(action: string, status: string, diagnostic: string): string {
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

export function plain(head: string, text: string): string {
  return `${head}\nTo: ${TO}\n\n${text}\n`;
}

export const QMAIL = (line: string) =>
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

export const EXIM_HEAD = `X-Failed-Recipients: pgp-public-keys@pks.example.net
Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@mx.example.net>`;

export const EXIM_TEXT = (
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

export const SENDMAIL = (status: string, diagnostic: string) =>
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

export const EXCHANGE = (status: string, diagnostic: string) =>
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
