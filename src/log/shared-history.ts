/**
 * Whether a copy and a database belong together: they are of one site, and the database has the
 * history that the copy has. Only reads.
 */
import { Trouble } from "../errors.js";
import type { LogName } from "../update.js";
import type { CopyRow } from "./copy-table.js";
import type { SharedChanges, SharedStore } from "./shared-port.js";

/** A copy: the path of its file, and how far it is. */
export type CopyPlace = Pick<CopyRow, "position" | "site" | "base"> & { readonly path: string };

/**
 * Throws `Trouble` 'not-ours' if a gateway refused this database for this copy; `copy` is undefined
 * when there is no file yet.
 */
export function assertFollows(
  copy: CopyRow | undefined,
  path: string,
  store: Pick<SharedStore, "name" | "changes">,
): void {
  const place: CopyPlace = { ...(copy ?? { position: 0, site: "", base: undefined }), path };
  if (siteIn(store, place) !== undefined) changesSince(store, place, 1);
}

/**
 * The name of the log in the database; undefined if it is empty. Throws `Trouble` if it is not the
 * log of the copy.
 */
export function siteIn(
  store: Pick<SharedStore, "name" | "changes">,
  place: CopyPlace,
): LogName | undefined {
  const name = store.name();
  if (name !== undefined && place.site !== "" && place.site !== name) throw otherSite(place.path);
  if (name !== undefined) return name;
  if (store.changes(0, 1).newest.position > 0) throw moving(place.path);
  if (place.position > 0) throw older(place, 0);
  return undefined;
}

/** What others have committed since `place`. Throws `Trouble` if it is of another history. */
export function changesSince(
  store: Pick<SharedStore, "changes">,
  place: CopyPlace,
  bytes: number,
): SharedChanges {
  const found = store.changes(place.position, bytes, place.base);
  if (found.newest.position < place.position) throw older(place, found.newest.position);
  if (!found.isKnown) throw strange(place, found.oldest);
  return found;
}

function otherSite(path: string): Trouble {
  const message = `${path}: is a copy of another log than the one in the database`;
  const remedy =
    "Correct log.shared. If the database is the right one, move the file away; the gateway " +
    "then loads a new copy.";
  return new Trouble("not-ours", message, remedy);
}

const FINISH_MOVE =
  'Finish the move with "kxgw db move --to-shared" where it was begun. Or set log.shared to ' +
  "another database.";

/** The database has rows of a log, but not its name. */
export function moving(path: string, remedy = FINISH_MOVE): Trouble {
  const message = `${path}: the database has a part of a log, or one that was moved out`;
  return new Trouble("not-ours", message, remedy);
}

function older({ path, position }: CopyPlace, newest: number): Trouble {
  const message =
    `${path}: the copy is at position ${position} and the database only at ${newest}: an older ` +
    "state of it was restored";
  const remedy =
    "Restore the newest state of the database. If there is none, move the file away; the " +
    "gateway then loads what the database has, and later updates are lost.";
  return new Trouble("not-ours", message, remedy);
}

/** The database does not remember the commit that the copy is based on. */
function strange({ path, base }: CopyPlace, oldest: number): Trouble {
  const { position = 0 } = base ?? {};
  const why =
    position < oldest
      ? `the copy was not brought up to date since position ${position}, and the database ` +
        `remembers what was deleted only from ${oldest} on`
      : `position ${position} of the copy is another commit than that of the database: an ` +
        "older state of it was restored";
  const remedy = "Stop the gateway, move the file away and start it; it then loads a new copy.";
  return new Trouble("not-ours", `${path}: ${why}`, remedy);
}
