/** Twenty kills; the thousand are those of `npm run torture -- --only kill --runs 1000`. */
import { beforeAll, expect, test } from "vitest";
import { kills } from "./checks/kills.js";
import { compile, expectHeld } from "./short.js";

let build = "";
beforeAll(() => {
  build = compile("kills");
});

test("kill -9 at random moments loses nothing that was acknowledged", {
  timeout: 120_000,
}, async () => {
  const { figures } = await expectHeld(kills, 20, build);
  expect(figures).toMatch(/^20 kills; [1-9]\d* answered 250, /);
});
