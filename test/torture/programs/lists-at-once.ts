/**
 * A gateway that is wrong on purpose: it reads the answer to a LIST in one go, as often as a peer
 * asks. Others wait for it, and a check of that must notice. Never shipped.
 */
import { PACE_LIMITS } from "../../../src/peering/listing-pace.js";
import { LISTING_LIMITS } from "../../../src/peering/serving.js";

const unlimited = { count: 1e12, periodMs: 1 };
Object.assign(PACE_LIMITS, { peer: unlimited, together: unlimited });
Object.assign(LISTING_LIMITS, { slice: 1e6 });

await import("../../../src/main.js");
