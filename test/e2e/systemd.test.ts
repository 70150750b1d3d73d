/** A config that takes its sockets from systemd, on a machine on which systemd gives none. */
import { expect, it } from "vitest";
import { OLD, SITE } from "./material.js";
import { configFile, spawn } from "./stage.js";

it("says what to do when systemd hands over nothing by that name", async () => {
  const file = configFile(
    `[site]\naddress = "${SITE}"\n[log]\npath = "updates.db"\n` +
      `[smtp]\nlisten = ["systemd:smtp", "lmtp:lmtp.sock"]\n` +
      `[[peer]]\nname = "old"\nmail = "${OLD}"\naccept_from = ["127.0.0.1"]\n`,
  );
  const gateway = spawn(file);
  expect(await gateway.exited).toBe(69);
  expect(gateway.errors).toContain('systemd passed no socket named "smtp"');
  expect(gateway.errors).toContain("Start its .socket unit");
});
