/**
 * docs/monitoring.md, run: its `sh` blocks beside a gateway that has no problem.
 * Needs: curl.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { HEAD, startGateway } from "./admin/gateway.js";
import { installIn, page, steps, walk } from "./support/page.js";
import { scratch } from "./support/scratch.js";

it("docs/monitoring.md works as it is written", { timeout: 60_000 }, async () => {
  const home = scratch();
  installIn(home);
  const text = `${HEAD}[[peer]]\nname = "feeder"\naccept_from = ["127.0.0.1"]\n`;
  writeFileSync(join(home, "kxgw.toml"), text);
  const { base } = await startGateway(text, { directory: home });
  const all = steps(page("monitoring.md"));
  expect(all).toHaveLength(2);
  const here = all.map(({ script, wanted }) => {
    return { script: script.replaceAll("http://127.0.0.1:9627", base), wanted };
  });
  await walk(here, home, home);
});
