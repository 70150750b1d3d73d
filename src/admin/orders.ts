/**
 * Orders that the control socket takes: POST /peers/NAME/pause, /peers/NAME/resume,
 * /peers/NAME/backfill/DAYS, /queue/NAME/retry, /queue/NAME/skip/SEQ and, with reason, until and
 * revocations behind a question mark, /keys/FINGERPRINT/block, /unblock and /forget. What they do
 * is the doors' own; here they are read and answered in words. A door that does not know the order
 * says so in its answer.
 */
import type { Answer } from "./routes.js";
import { json } from "./routes.js";

/** What came of an order, in a sentence. */
export interface Obeyed {
  readonly done: boolean;
  readonly words: string;
  /** Which road was taken, where there are several. */
  readonly via?: "kx" | "mail";
  /** Set when there was nothing that it could be done to. */
  readonly missing?: true;
}

/** The orders by what they are for; each gets the neighbour's name. */
export interface Orders {
  pause(neighbour: string): Obeyed;
  resume(neighbour: string): Obeyed;
  /** Asks it anew for what it has, of the last `days` days where it can be told so. */
  backfill(neighbour: string, days: number): Obeyed;
  /** Tries now what was put off. */
  retry(neighbour: string): Obeyed;
  /** Gives up the next update of a queue, which has to be `seq`. */
  skip(neighbour: string, seq: number): Obeyed;
  /** Blocks, unblocks or forgets a key, as `verb` says; undefined for any other verb. */
  remove(verb: string, fingerprint: string, given: URLSearchParams): Obeyed | undefined;
}

/** Does what `url` orders: 200 when it is done, 409 when it could not be, 404 for no order. */
export function obey(url: URL, orders: Orders): Answer {
  const [, room, name = "", verb = "", number, ...rest] = url.pathname.split("/");
  if (room === "keys" && number === undefined) {
    const obeyed = orders.remove(verb, name, url.searchParams);
    if (obeyed !== undefined) return said(obeyed);
  }
  const hasNumber = number === undefined ? "" : " number";
  const order = rest.length > 0 ? undefined : `${room} ${verb}${hasNumber}`;
  switch (order) {
    case "peers pause":
      return said(orders.pause(name));
    case "peers resume":
      return said(orders.resume(name));
    case "queue retry":
      return said(orders.retry(name));
    case "queue skip number":
      return said(orders.skip(name, Number(number)));
    case "peers backfill number":
      return said(orders.backfill(name, Number(number)));
    default:
      return json({ done: false, words: "There is no such order." }, 404);
  }
}

function said(obeyed: Obeyed): Answer {
  return json(obeyed, obeyed.done ? 200 : 409);
}
