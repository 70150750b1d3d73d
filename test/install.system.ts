/**
 * docs/install.md, run: every `sh` block in order, in one shell, exactly as it stands, but for the
 * ports, which are exchanged for free ones. Each `text` block behind it has to come out.
 * Needs: swaks, curl.
 */
import { mkdtempSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { installIn, page, ROOT, steps, walk } from "./page.js";

const PAGE = page("install.md");
const PORTS = ["2525", "9627", "11373"];

async function freePort(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return String(port);
}

it("docs/install.md works as it is written", { timeout: 60_000 }, async () => {
  const home = mkdtempSync(join(tmpdir(), "kxgw-install-"));
  onTestFinished(() => rmSync(home, { recursive: true, force: true }));
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
