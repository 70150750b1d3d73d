/**
 * Stores the keys that a keyserver returned for a lost update, with the same checks and policy as
 * any other input and with that keyserver as the sender. The result is returned to the caller, for
 * HKP or mail. Keys that were not asked for are refused.
 *
 * If the update is known, its body is written to the log again, which may have lost it, and the
 * sites that wait for it are sent it again.
 */
import type { Clock } from "../clock.js";
import type { Neighbour } from "../config/config.js";
import { Refusal, refusalKind } from "../errors.js";
import type { KeyIntake, Taken } from "../intake/key-intake.js";
import type { Repair, RepairAnswer, Repairs } from "../log/repairs.js";

/** What a `RepairIntake` works with. */
export interface RepairIntakeComponents {
  readonly repairs: Pick<Repairs, "again">;
  readonly keys: Pick<KeyIntake, "take">;
  readonly clock: Pick<Clock, "now">;
}

export class RepairIntake {
  readonly #repairs: RepairIntakeComponents["repairs"];
  readonly #keys: RepairIntakeComponents["keys"];
  readonly #clock: RepairIntakeComponents["clock"];

  constructor({ repairs, keys, clock }: RepairIntakeComponents) {
    this.#repairs = repairs;
    this.#keys = keys;
    this.#clock = clock;
  }

  /**
   * Takes the keys that `repair` asks for from the answer of `from`. Rejects with `Trouble` if they
   * could not be stored.
   */
  async take(
    repair: Repair,
    from: Pick<Neighbour, "name" | "mail">,
    armor: readonly Uint8Array[],
  ): Promise<RepairAnswer> {
    const bytes = armor.reduce((sum, { length }) => sum + length, 0);
    // A site that waits for the key also lacks packets that are known here.
    const whole = repair.sites.length > 0;
    const asked = { only: repair.fingerprint, whole, transport: "repair" } as const;
    const given = { armor, sender: from, trail: [], messageId: undefined, bytes };
    let taken: Taken[];
    try {
      taken = await this.#keys.take({ ...given, ...asked });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const { reason, message: words } = error;
      return { kind: refusalKind(reason).repair, words, appended: 0, known: 0 };
    }
    const known = taken.filter(({ outcome }) => outcome === "duplicate");
    const at = this.#clock.now();
    for (const { seq, update } of known) {
      if (seq === undefined || !whole) continue;
      this.#repairs.again(seq, update.body, repair.sites, at);
    }
    const appended = taken.length - known.length;
    return { kind: "taken", words: "", appended, known: known.length };
  }
}
