/** Checks of the torture run that need no process, in small. */
import { expect, test } from "vitest";
import { logLines } from "./checks/log-lines.js";
import { silentPeers } from "./checks/silent-peers.js";
import { expectHeld } from "./short.js";

test("what strangers write is obeyed by no terminal", async () => {
  const { figures } = await expectHeld(logLines, 2000, "");
  expect(figures).toMatch(/^3000 lines of 3 forms with 2000 hostile fields: 0 /);
});

test("peers that announce and never deliver delay an update by few periods", async () => {
  const { figures } = await expectHeld(silentPeers, 400, "");
  expect(figures).toMatch(/^28 mixes of 2 to 8 peers, 400 seeds/);
});
