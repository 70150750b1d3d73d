/**
 * Which roads updates take to a neighbour: what `via` means, in one place, so that the doors, the
 * page and the commands agree about it. When which road is taken is `delivery/path.ts`.
 */
import type { Neighbour, Via } from "./config.js";

/** Which road a neighbour takes when `via` does not say: KX when there is no mail address. */
export function defaultVia(given: { mail: boolean; kx: boolean }): Via {
  return given.kx && !given.mail ? "kx" : "mail";
}

/** Whether updates may be mailed to a neighbour, always or when KX is down. */
export function goesByMail({ via, mail }: Pick<Neighbour, "via" | "mail">): boolean {
  return mail !== undefined && via !== "kx";
}

/** Whether KX is spoken with a neighbour. */
export function goesByKx({ via, kx }: Pick<Neighbour, "via" | "kx">): boolean {
  return kx !== undefined && via !== "mail";
}
