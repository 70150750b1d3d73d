/**
 * Bounces and what is taken for them, in the shapes of the mail systems that write them, each with
 * what it has to be understood as. Names are made up; structure, headers and wording are not.
 */

import {
  EXCHANGE,
  EXIM_HEAD,
  EXIM_TEXT,
  plain,
  postfix,
  QMAIL,
  report,
  type Sample,
  SENDMAIL,
  TO,
} from "./bounce-shapes.js";
import { BROKEN } from "./broken-reports.js";

export const SAMPLES: readonly Sample[] = [
  {
    name: "Postfix: no such user",
    raw: postfix(
      "failed",
      "5.1.1",
      "smtp; 550 5.1.1 <pgp-public-keys@pks.example.net>:\n" +
        "    Recipient address rejected: User unknown in local recipient table",
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
      "smtp; 250 2.0.0 Ok\n\nFinal-Recipient: rfc822; a@b.example\nAction: failed\n" +
        "Status: 5.2.1\nDiagnostic-Code: smtp; 550 5.2.1 Mailbox disabled",
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
      "192.0.2.7 failed after I sent the message.\n" +
        "Remote host said: 552 5.2.3 Message exceeds local size limit.",
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
      "From: Keymaster <k@pks.example.net>\nSubject: Re: incremental\n" +
        "Auto-Submitted: auto-replied (vacation)\nPrecedence: bulk",
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
