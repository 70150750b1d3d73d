/**
 * Which paths updates take to a neighbour: the meaning of `via`, in one place, so that delivery,
 * page and commands agree. The choice between paths is in `delivery/path.ts`.
 */
import type { Neighbour, Via } from "./config.js";

/** The default of `via`: KX if there is no mail address, else mail. */
export function defaultVia(given: { mail: boolean; kx: boolean }): Via {
  return given.kx && !given.mail ? "kx" : "mail";
}

/**
 * Whether a neighbour is not meant to move to KX: the operator wrote `via = "mail"`, or it runs a
 * pksd without a KX endpoint, which has no KX.
 */
export function staysOnMail(one: Pick<Neighbour, "via" | "isViaSet" | "kind" | "kx">): boolean {
  if (one.via !== "mail") return false;
  return one.isViaSet || (one.kind === "pksd" && one.kx === undefined);
}

/** Whether updates may be mailed to a neighbour, always or while KX is down. */
export function goesByMail({ via, mail }: Pick<Neighbour, "via" | "mail">): boolean {
  return mail !== undefined && via !== "kx";
}

/** Whether KX is used with a neighbour. */
export function goesByKx({ via, kx }: Pick<Neighbour, "via" | "kx">): boolean {
  return kx !== undefined && via !== "mail";
}
