/**
 * The gateway with deadlines of SMTP and HKP that a check can wait for: KXTORTURE_MS for a command
 * or the head of a request, for the grace of a message and for a whole one, in place of minutes.
 * KXTORTURE_SHARES=none lets strangers have every connection of the HKP door, which is wrong on
 * purpose. Never shipped.
 */
import { HKP_LIMITS, SMTP_LIMITS } from "../../../src/ingress/limits.js";

const ms = Number(process.env.KXTORTURE_MS ?? 5000);
if (process.env.KXTORTURE_SHARES === "none") {
  const { sessions } = HKP_LIMITS;
  Object.assign(HKP_LIMITS, { strangers: sessions, perStranger: sessions });
}
delete process.env.KXTORTURE_MS;
delete process.env.KXTORTURE_SHARES;
Object.assign(SMTP_LIMITS, { commandMs: ms, graceMs: ms, dataMs: 2 * ms });
Object.assign(HKP_LIMITS, { headersMs: ms, graceMs: ms, dataMs: 2 * ms });

await import("../../../src/main.js");
