/**
 * The gateway with deadlines of SMTP that a check can wait for: KXTORTURE_MS for a command, for the
 * grace of a message and for a whole one, in place of minutes. Never shipped.
 */
import { SMTP_LIMITS } from "../../../src/ingress/limits.js";

const ms = Number(process.env.KXTORTURE_MS ?? 5000);
delete process.env.KXTORTURE_MS;
Object.assign(SMTP_LIMITS, { commandMs: ms, graceMs: ms, dataMs: 2 * ms });

await import("../../../src/main.js");
