/**
 * A name server that never answers and a relay that never greets: neither delays the start, and at
 * a reload the doors that take mail and keys are shut for a moment only.
 */
import { lookup } from "node:dns/promises";
import { createServer } from "node:net";
import { expect, onTestFinished, test, vi } from "vitest";
import { parseConfig } from "../../src/config/load.js";
import { armoredKeys, startGateway } from "../admin/gateway.js";
import { sendTo } from "../ingress/hkp-door.js";
import { freePort } from "../support/ports.js";
import { pause, until } from "../support/until.js";

vi.mock("node:dns/promises", async (original) => {
  const real = await original<typeof import("node:dns/promises")>();
  const asked = vi.fn((host: string, options: object) =>
    host.endsWith(".dead.example") ? new Promise(() => {}) : real.lookup(host, options),
  );
  return { ...real, lookup: asked };
});

/** Most of which a loaded machine needs the first half; a look-up alone takes 10 s and more. */
const SHUT_MS = 5000;

test.each([
  ["relay", 5000],
  // Of an attempt over HKP nobody knows how far it has come: it is waited for.
  ["keyserver", 20_000],
])(
  "dead names and a silent %s delay no door, at the start and at a reload",
  {
    timeout: 60_000,
  },
  async (what, longestReloadMs) => {
    const silent = createServer((socket) => socket.on("error", () => {}));
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void silent.close());
    const address = silent.address();
    const port = typeof address === "object" ? address?.port : 0;
    const hkp = await freePort();
    const peers = [1, 2, 3].map(
      (n) => `[[peer]]\nname = "p${n}"\nkx = "p${n}.dead.example:11373"\nvia = "kx"\n`,
    );
    const out =
      what === "relay"
        ? `[outbound]\nrelay = "smtp://127.0.0.1:${port}"`
        : `[local]\ntype = "hkp"\nurl = "http://127.0.0.1:${port}"`;
    const text = `[site]\naddress = "pgp-public-keys@kx.example.org"\n[log]\n
[hkp]
listen = ["127.0.0.1:${hkp}"]
open = true
stranger_rate = "100000/1m"
[kx]
listen = ["127.0.0.1:0"]
${out}
[[peer]]\nname = "site"\nmail = "pgp-public-keys@site.example"\n${peers.join("")}`;
    vi.mocked(lookup).mockClear();
    const began = performance.now();
    const { gateway, directory } = await startGateway(text);
    expect(performance.now() - began).toBeLessThan(SHUT_MS);
    expect(vi.mocked(lookup)).toHaveBeenCalledTimes(3);

    const [one = "", two = ""] = armoredKeys();
    const post = (key: string) =>
      sendTo(hkp, new URLSearchParams({ keytext: key }).toString()).then(({ status }) => status);
    expect(await post(one)).toBe(200);
    const isConnected = () =>
      new Promise<boolean>((resolve) => {
        silent.getConnections((_, count) => resolve(count > 0));
      });
    await until(isConnected);

    let [lastAt, longest] = [performance.now(), 0];
    let isOver = false;
    const watching = (async () => {
      while (!isOver) {
        if ((await post(two).catch(() => 0)) === 200) lastAt = performance.now();
        longest = Math.max(longest, performance.now() - lastAt);
        await pause(20);
      }
    })();
    const reloadedAt = performance.now();
    expect(await gateway.reload(parseConfig(text, "kxgw.toml", directory, {}))).toBe(true);
    expect(performance.now() - reloadedAt).toBeLessThan(longestReloadMs);
    isOver = true;
    await watching;
    expect(await post(two)).toBe(200);
    expect(longest).toBeLessThan(SHUT_MS);
  },
);
