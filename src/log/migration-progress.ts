/**
 * Limits how often a migration is told of: at its begin and its end, and in between at most once in
 * `PROGRESS_MS`. In a small log all parts take some milliseconds.
 */
import type { Clock } from "../clock.js";
import type { Migration } from "./connection.js";

export const PROGRESS_MS = 5000;

type Tell = (migration: Migration) => void;

export function seldom(tell: Tell, clock: Pick<Clock, "monotonic">): Tell {
  let toldAt = -Infinity;
  return (migration) => {
    const now = clock.monotonic();
    if (!migration.isDone && now - toldAt < PROGRESS_MS) return;
    toldAt = now;
    tell(migration);
  };
}
