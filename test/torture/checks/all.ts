/** Every check of the torture run, in the order in which they run. */
import type { Check } from "../check.js";
import { clockJumps } from "./clock-jumps.js";
import { cluster } from "./cluster.js";
import { cutBeforeAnswer } from "./cut-before-answer.js";
import { flatMemory } from "./flat-memory.js";
import { fullDisk } from "./full-disk.js";
import { growth } from "./growth.js";
import { hashMemory } from "./hash-memory.js";
import { hkpCrowd } from "./hkp-crowd.js";
import { hostileMail } from "./hostile-mail.js";
import { injection } from "./injection.js";
import { kills } from "./kills.js";
import { kxAnnounce } from "./kx-announce.js";
import { kxInput } from "./kx-input.js";
import { kxLate } from "./kx-late.js";
import { kxList } from "./kx-list.js";
import { kxOctets } from "./kx-octets.js";
import { kxReconcile } from "./kx-reconcile.js";
import { kxSlow } from "./kx-slow.js";
import { largeMails } from "./large-mails.js";
import { logLines } from "./log-lines.js";
import { numbers } from "./numbers.js";
import { parsers } from "./parsers.js";
import { segments } from "./segments.js";
import { signals } from "./signals.js";
import { silentPeers } from "./silent-peers.js";
import { size } from "./size.js";
import { slowClients } from "./slow-clients.js";
import { startUp } from "./start-up.js";
import { syncOrder } from "./sync-order.js";
import { walCut } from "./wal-cut.js";
import { wrongStarts } from "./wrong-starts.js";

export const CHECKS: readonly Check[] = [
  // What decides comes first: what runs out of time is what comes last.
  kills,
  cluster,
  growth,
  syncOrder,
  walCut,
  cutBeforeAnswer,
  hashMemory,
  numbers,
  startUp,
  fullDisk,
  segments,
  injection,
  hostileMail,
  largeMails,
  slowClients,
  hkpCrowd,
  clockJumps,
  wrongStarts,
  signals,
  kxAnnounce,
  kxInput,
  kxSlow,
  kxLate,
  kxList,
  kxOctets,
  kxReconcile,
  size,
  silentPeers,
  logLines,
  parsers,
  flatMemory,
];
