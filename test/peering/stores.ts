/** A driver's part that most tests need: batches are stored at once, on the log itself. */
import { Trouble } from "../../src/errors.js";
import type { Appended, UpdateLog } from "../../src/log/update-log.js";
import type { Action, ConnectionAction, Exchange } from "../../src/peering/exchange.js";
import type { Store } from "../../src/peering/receiving.js";

/** Performs the stores among `actions`; returns the other actions, with those that follow. */
export function withStores(
  exchange: Exchange,
  log: Pick<UpdateLog, "append">,
  actions: readonly Action[],
  now: number,
): ConnectionAction[] {
  return actions.flatMap((action): ConnectionAction[] => {
    if (action.type !== "store") return [action];
    const { id } = action.store;
    const outcomes = append(log, action.store);
    const more =
      outcomes instanceof Trouble
        ? exchange.storeFailed(id, outcomes, now)
        : exchange.stored(id, outcomes, now);
    return withStores(exchange, log, more, now);
  });
}

/** The outcomes of a batch, or why it could not be stored. */
export function append(
  log: Pick<UpdateLog, "append">,
  { arrivals, cursor }: Store,
): Appended[] | Trouble {
  try {
    return log.append(arrivals, ...(cursor === undefined ? [] : [cursor]));
  } catch (error) {
    if (error instanceof Trouble) return error;
    throw error;
  }
}
