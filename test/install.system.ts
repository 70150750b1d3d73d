/**
 * docs/install.md, run: every `sh` block in order, in one shell, exactly as it stands, but for the
 * ports, which are exchanged for free ones. Each `text` block behind it has to come out.
 * Needs: swaks, curl.
 */
import { expect, it } from "vitest";
import { installIn, page, ROOT, steps, walk } from "./support/page.js";
import { freePort } from "./support/ports.js";
import { scratch } from "./support/scratch.js";

const PAGE = page("install.md");
const PORTS = ["2525", "9627", "11373"];

it("docs/install.md works as it is written", { timeout: 60_000 }, async () => {
  const home = scratch();
  installIn(home);
  let all = steps(PAGE);
  expect(all.length).toBeGreaterThanOrEqual(6);
  for (const documented of PORTS) {
    expect(PAGE, documented).toContain(documented === "11373" ? "kxgw init" : documented);
    const free = await freePort();
    const flag = { "2525": "--smtp", "9627": "--admin", "11373": "--kx" }[documented];
    all = all.map(({ script, wanted }) => ({
      script: script
        .replaceAll(`127.0.0.1:${documented}`, `127.0.0.1:${free}`)
        .replace("kxgw init ", `kxgw init ${flag} 127.0.0.1:${free} `),
      wanted,
    }));
  }
  await walk(all, home, ROOT);
});
