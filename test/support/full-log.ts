/**
 * A log on a full disk, for the tests of how a sender is answered: every append throws `Trouble`,
 * everything else works.
 */
import { Trouble } from "../../src/errors.js";
import type { UpdateLog } from "../../src/log/update-log.js";

export function fullLog(log: UpdateLog): UpdateLog {
  return new Proxy(log, {
    get(target, name) {
      if (name !== "append") {
        const value = Reflect.get(target, name, target);
        return typeof value === "function" ? value.bind(target) : value;
      }
      return () => {
        throw new Trouble("disk-full", "no space on /var", "make some");
      };
    },
  });
}
