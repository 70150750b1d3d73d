/**
 * What a keyserver gave when it was asked for a lost key, into the log: by the same gate and policy
 * as all that comes in, as news of that keyserver's. Whoever asked, over HKP or by mail, gets back
 * what came of it; a key that came unasked among others is refused.
 *
 * A key that is known word for word is no news: then the body that the log may have lost is given
 * back to it, and the sites that wait for it are sent it again.
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
   * Takes the keys that `repair` asks for out of what `from` sent. Rejects with `Trouble` when they
   * could not be stored.
   */
  async take(
    repair: Repair,
    from: Pick<Neighbour, "name" | "mail">,
    armor: readonly Uint8Array[],
  ): Promise<RepairAnswer> {
    const bytes = armor.reduce((sum, { length }) => sum + length, 0);
    // A site that waits for the key lacks what others were told long ago.
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
