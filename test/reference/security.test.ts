/**
 * The limits that docs/security.md tells of are those of the code: where one is changed the page
 * has to be.
 */
import { expect, it } from "vitest";
import { ADMIN_LIMITS } from "../../src/admin/admin-door.js";
import { LIVE_LIMITS } from "../../src/admin/live.js";
import { MAX_TRIES } from "../../src/delivery/bounces.js";
import { HKP_LIMITS, SMTP_LIMITS } from "../../src/ingress/limits.js";
import { SPOOL_LIMITS } from "../../src/ingress/spool.js";
import { REFUSED_LIMITS } from "../../src/ingress/spool-refused.js";
import { MAX_PARTS } from "../../src/intake/mime.js";
import { FETCH_LIMITS } from "../../src/kx/fetch-tracker.js";
import { PARSER_LIMITS } from "../../src/kx/parser.js";
import { ERROR_LIMITS, SESSION_LIMITS } from "../../src/kx/session.js";
import { TRAIL_LIMIT } from "../../src/log/trail.js";
import { MAX_FIELDS, MAX_HEAD_BYTES } from "../../src/mail/head.js";
import { MAX_TRAIL } from "../../src/mail/sent-trail.js";
import { SEND_QUEUE_LIMITS } from "../../src/peering/send-queue.js";
import { TCP_LIMITS } from "../../src/peering/tcp.js";
import { page } from "../support/page.js";

const min = (ms: number) => `${ms / 60_000} min`;
const s = (ms: number) => `${ms / 1000} s`;
const { sessions, strangers, perNeighbour, perStranger } = SMTP_LIMITS;
const { bytesPerSecond, recipients, commandBytes } = SMTP_LIMITS;
const { badMessages, errorsPerMinute } = ERROR_LIMITS;
const { waitingRequests, unsentBytes, stallMs } = SEND_QUEUE_LIMITS;
const { inFlight, window, tracked } = FETCH_LIMITS;
const { heloMs, firstAnnouncementMs } = SESSION_LIMITS;

it.each([
  ["SMTP sessions", `${sessions}, of strangers ${strangers}; ${perNeighbour} from`],
  ["SMTP sessions", `address, ${perStranger} from another`],
  ["an SMTP command", min(SMTP_LIMITS.commandMs)],
  ["a mail", `${min(SMTP_LIMITS.dataMs)}, ${bytesPerSecond} octets a second`],
  ["HKP connections", `${HKP_LIMITS.sessions}, of strangers ${HKP_LIMITS.strangers}; `],
  ["HKP connections", `${HKP_LIMITS.perNeighbour} from one neighbour's address`],
  ["HKP connections", `address, ${HKP_LIMITS.perStranger} from another`],
  [
    "an HKP request",
    `${s(HKP_LIMITS.headersMs)} for its head, ${HKP_LIMITS.headerBytes / 1024} KiB`,
  ],
  ["an HKP request", `${min(HKP_LIMITS.dataMs)} for its body, ${HKP_LIMITS.bytesPerSecond} octets`],
  ["an HKP request", `a second after ${s(HKP_LIMITS.graceMs)}`],
  ["HKP bodies at once", `${HKP_LIMITS.heldBytes / 2 ** 20} MiB, of strangers `],
  ["HKP bodies at once", `strangers ${HKP_LIMITS.strangerBytes / 2 ** 20} MiB`],
  ["HKP requests of strangers", `${HKP_LIMITS.networks} times that of all`],
  ["spool files", `${SPOOL_LIMITS.watched} watched, ${SPOOL_LIMITS.taken} taken`],
  ["spool files", `${REFUSED_LIMITS.files} files, ${REFUSED_LIMITS.bytes / 2 ** 20} MiB`],
  [
    "KX connections from unknown addresses",
    `${TCP_LIMITS.waiting} wait up to ${s(TCP_LIMITS.lookUpMs)}`,
  ],
  ["recipients, length of a command", `${recipients}, ${commandBytes} octets`],
  ["parts of a mail, fields of its head, its head", `${MAX_PARTS}, ${MAX_FIELDS}, `],
  ["parts of a mail, fields of its head, its head", `, ${MAX_HEAD_BYTES / 1024} KiB`],
  ["sites in a trail", `${MAX_TRAIL} of a mail, ${TRAIL_LIMIT} kept`],
  [
    "KX line, message",
    `${PARSER_LIMITS.lineBytes} octets, ${PARSER_LIMITS.messageBytes / 2 ** 20} MiB`,
  ],
  ["KX greeting", `${s(heloMs)}, then ${s(firstAnnouncementMs)} for`],
  ["KX connections of a peer", `| ${TCP_LIMITS.perPeer} |`],
  ["messages without sense", `${badMessages}, then the connection ends; ${errorsPerMinute} ERRORs`],
  ["updates that are fetched at once", `${inFlight}, of a peer ${window.most}; ${tracked} tracked`],
  [
    "waiting GETUPDATEs, unsent octets of a peer",
    `${waitingRequests}, ${unsentBytes / 2 ** 20} MiB`,
  ],
  ["waiting GETUPDATEs, unsent octets of a peer", `for ${s(stallMs)} ends it`],
  ["HTTP connections, live pages", `${ADMIN_LIMITS.connections}, ${LIVE_LIMITS.clients}; `],
  [
    "HTTP connections, live pages",
    `${ADMIN_LIMITS.perAddress}, ${LIVE_LIMITS.perAddress} from one address`,
  ],
  ["HTTP connections, live pages", `${s(ADMIN_LIMITS.requestMs)} for a request`],
  ["a mail that came back", `${MAX_TRIES} times at most`],
])("%s: %s", (what, limit) => {
  const row = page("security.md")
    .split("\n")
    .find((line) => line.startsWith(`| ${what} |`));
  expect(row).toContain(limit);
});
