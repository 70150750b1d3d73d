/**
 * Orders of the control socket: POST /peers/NAME/pause, /peers/NAME/resume,
 * /peers/NAME/backfill/DAYS, /peers/NAME/reconcile (with dry-run as a query parameter),
 * /queue/NAME/retry, /queue/NAME/retry/SEQ, /queue/NAME/retry/all, /queue/NAME/skip/SEQ and, with
 * reason, until and revocations as query parameters,
 * /keys/FINGERPRINT/block, /unblock and /forget. This file parses them and formats the answers;
 * lanes, peers and log carry them out.
 */
import type { Answer } from "./routes.js";
import { json } from "./routes.js";

/** The result of an order, as a sentence. */
export interface Obeyed {
  readonly done: boolean;
  readonly words: string;
  /** Which path was used, if there are several. */
  readonly via?: "kx" | "mail";
  /** Set if there was nothing to do. */
  readonly missing?: true;
}

/** The answer to an order to send something in observe mode. */
export const OBSERVING = 'Nothing is sent in mode = "observe"; everything stays as it is.';

/** The orders; each gets the name of the neighbour. A promise resolves when the order is stored. */
export interface Orders {
  pause(neighbour: string): Obeyed;
  resume(neighbour: string): Obeyed;
  /** Asks it for its updates again, by mail for those of the last `days` days. */
  backfill(neighbour: string, days: number): Promise<Obeyed>;
  /** Compares its keys with ours, and fetches those that differ unless it is a dry run. */
  reconcile(neighbour: string, isDryRun: boolean): Obeyed;
  /** Starts the next attempt now; with `which` that of updates that the site did not take. */
  retry(neighbour: string, which?: number | "all"): Obeyed;
  /** Gives up an update that is next or waits. */
  skip(neighbour: string, seq: number): Obeyed;
  /** Blocks, unblocks or forgets a key; undefined for any other verb. */
  remove(verb: string, fingerprint: string, given: URLSearchParams): Promise<Obeyed | undefined>;
}

/** Carries out the order of `url`: 200 if done, 409 if not possible, 404 for an unknown order. */
export async function obey(url: URL, orders: Orders): Promise<Answer> {
  const [, room, name = "", verb = "", number, ...rest] = url.pathname.split("/");
  if (room === "keys" && number === undefined) {
    const obeyed = await orders.remove(verb, name, url.searchParams);
    if (obeyed !== undefined) return said(obeyed);
  }
  const hasNumber = number === undefined ? "" : " number";
  const order = rest.length > 0 ? undefined : `${room} ${verb}${hasNumber}`;
  switch (order) {
    case "peers pause":
      return said(orders.pause(name));
    case "peers resume":
      return said(orders.resume(name));
    case "peers reconcile":
      return said(orders.reconcile(name, url.searchParams.has("dry-run")));
    case "queue retry":
      return said(orders.retry(name));
    case "queue retry number":
      return said(orders.retry(name, number === "all" ? number : Number(number)));
    case "queue skip number":
      return said(orders.skip(name, Number(number)));
    case "peers backfill number":
      return said(await orders.backfill(name, Number(number)));
    default:
      return json({ done: false, words: "Unknown order." }, 404);
  }
}

function said(obeyed: Obeyed): Answer {
  return json(obeyed, obeyed.done ? 200 : 409);
}
