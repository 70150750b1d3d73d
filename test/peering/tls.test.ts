/**
 * KX over TLS between two real doors: certificates that are pinned or signed by a CA, and every way
 * in which a peer fails to prove who it is.
 */
import { copyFileSync, utimesSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { describe, expect, it, onTestFinished } from "vitest";
import { systemClock } from "../../src/clock.js";
import { parseConfig } from "../../src/config/load.js";
import type { EventName, Fields } from "../../src/diagnostics.js";
import { GroupCommit } from "../../src/intake/group-commit.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { KxDoor } from "../../src/peering/tcp.js";
import { makeCertificate } from "../support/certificates.js";
import { scratchOfFile } from "../support/scratch.js";
import { soon } from "../support/soon.js";

const DIR = scratchOfFile();
const certificate = (name: string, ca?: string) => makeCertificate(DIR, name, ca);

certificate("ca");
const PIN_A = certificate("a");
const PIN_B = certificate("b");
certificate("signed-a", "ca");
const PIN_SIGNED_B = certificate("signed-b", "ca");
const PIN_STRANGER = certificate("stranger");

/** A door whose one peer is on `port` of this host; `tls` is [kx] tls, `peer` more of the peer. */
async function door(tls: string, peer: string, port = 1) {
  const config = parseConfig(
    `[site]
address = "keys@${peer.length}.example"
[log]
[kx]
listen = ["127.0.0.1:0"]
reconnect = "20ms"
tls = { ${tls} }
[[peer]]
name = "other"
kx = "kxs://localhost:${port}"
${peer}
`,
    join(DIR, "kxgw.toml"),
    DIR,
    {},
  );
  const events: [EventName, Fields][] = [];
  const log = UpdateLog.open(":memory:");
  const report = (event: EventName, fields: Fields = {}) => events.push([event, fields]);
  if (config.kx === undefined) throw new Error("no [kx]");
  const kx = new KxDoor(
    { log, appends: new GroupCommit(log), clock: systemClock, diagnostics: { report } },
    { ...config, kx: config.kx },
  );
  const [bound] = await kx.start();
  onTestFinished(async () => {
    await kx.stop();
    log.close();
  });
  const saw = async (event: EventName) => {
    await expect
      .poll(() => events.find(([name]) => name === event), { timeout: 10_000 })
      .toBeDefined();
    return events.find(([name]) => name === event)?.[1];
  };
  return { kx, saw, port: bound?.port ?? 0 };
}

const files = (name: string, more = "") => `cert = "${name}.pem", key = "${name}.key"${more}`;
const CA = ', ca = "ca.pem"';

describe("KX over TLS", () => {
  it("connects peers that pinned each other's certificate", async () => {
    const a = await door(files("a"), `pin = "${PIN_B}"`);
    const b = await door(files("b"), `pin = "${PIN_A}"\ndial = true`, a.port);
    await a.saw("peer-connected");
    await b.saw("peer-connected");
  });

  it("connects peers whose certificates one CA signed for their host name", async () => {
    const a = await door(files("signed-a", CA), "");
    const b = await door(files("signed-b", CA), "dial = true", a.port);
    await a.saw("peer-connected");
    await b.saw("peer-connected");
  });

  it("refuses another certificate than the pinned one, on either side", async () => {
    const a = await door(files("a"), `pin = "${PIN_B}"`);
    const impostor = await door(files("stranger"), `pin = "${PIN_A}"\ndial = true`, a.port);
    expect((await a.saw("peer-untrusted"))?.problem).toContain("not the pinned one");
    const b = await door(files("b"), `pin = "${PIN_A}"\ndial = true`, impostor.port);
    expect((await b.saw("peer-untrusted"))?.problem).toContain("not the pinned one");
    expect(b.kx.status()[0]?.connected).toBe(false);
  });

  it("refuses a certificate that the CA did not sign", async () => {
    const a = await door(files("signed-a", CA), "");
    await door(files("stranger", CA), "dial = true", a.port);
    expect((await a.saw("peer-untrusted"))?.problem).toContain("not trusted");
  });

  it("refuses a client without certificate, one without TLS, and TLS below 1.2", async () => {
    const a = await door(files("signed-a", CA), "");
    const bare = connectTls({ port: a.port, host: "127.0.0.1", rejectUnauthorized: false });
    bare.on("error", () => {});
    expect((await a.saw("peer-untrusted"))?.problem).toContain("no certificate");

    const plain = await door(files("signed-a", CA), "");
    const socket = connect(plain.port, "127.0.0.1");
    const heard: Buffer[] = [];
    socket.on("data", (bytes) => heard.push(bytes));
    socket.on("error", () => {});
    socket.write("0001\r\nHELO\r\n1.0\r\n.\r\n");
    await plain.saw("peer-untrusted");
    expect(Buffer.concat(heard).includes("HELO")).toBe(false);

    const old = await door(files("signed-a", CA), "");
    const versions = { minVersion: "TLSv1", maxVersion: "TLSv1.1" } as const;
    const ciphers = "DEFAULT@SECLEVEL=0";
    const dated = connectTls({ port: old.port, host: "127.0.0.1", ...versions, ciphers });
    dated.on("error", () => {});
    expect((await old.saw("peer-untrusted"))?.problem).toMatch(/version|protocol|ended/i);
  });

  describe("with several peers at one address", () => {
    const also = (name: string, endpoint: string, more = "") =>
      `[[peer]]\nname = "${name}"\nvia = "kx"\nkx = "${endpoint}"\n${more}`;
    const connected = ({ kx }: { kx: KxDoor }) =>
      kx
        .status()
        .filter((peer) => peer.connected)
        .map(({ name }) => name);

    it.each([
      ["the first comes first", ["a", "b"], ["other", "second"]],
      ["the second comes first", ["b", "a"], ["second", "other"]],
    ])("the certificate tells which one it is: %s", async (_, order, names) => {
      const hub = await door(
        files("stranger"),
        `pin = "${PIN_A}"\n${also("second", "kxs://127.0.0.1:2", `pin = "${PIN_B}"\n`)}`,
      );
      const pin = `pin = "${PIN_STRANGER}"\ndial = true`;
      for (const [count, name] of order.entries()) {
        await door(files(name), pin, hub.port);
        const here = names.slice(0, count + 1).sort();
        await soon(() => connected(hub).sort()).toEqual(here);
      }
    });

    it("a pin goes before the CA, and a CA's peer may be beside it", async () => {
      const hub = await door(
        files("stranger", CA),
        also("pinned", "kxs://127.0.0.1:2", `pin = "${PIN_SIGNED_B}"\n`),
      );
      const pin = `pin = "${PIN_STRANGER}"\ndial = true`;
      await door(files("signed-b"), pin, hub.port);
      await soon(() => connected(hub)).toEqual(["pinned"]);
      await door(files("signed-a"), pin, hub.port);
      await soon(() => connected(hub)).toEqual(["other", "pinned"]);
    });

    it("one that proves none of them is refused, and told as which", async () => {
      const hub = await door(
        files("a"),
        `pin = "${PIN_A}"\n${also("second", "kxs://127.0.0.1:2", `pin = "${PIN_B}"\n`)}`,
      );
      await door(files("stranger"), `pin = "${PIN_A}"\ndial = true`, hub.port);
      const told = await hub.saw("peer-untrusted");
      expect(told?.neighbours).toBe("other second");
      expect(told?.problem).toMatch(/^as other: .* not the pinned one; as second: .* pinned one$/);
      expect(connected(hub)).toEqual([]);
    });

    it("one of plain KX beside TLS is told by its first byte", async () => {
      const hub = await door(
        files("stranger"),
        `pin = "${PIN_A}"\n${also("plain", "127.0.0.1:2")}`,
      );
      const socket = connect(hub.port, "127.0.0.1");
      onTestFinished(() => void socket.destroy());
      socket.write("0001\r\nHELO\r\n1.0\r\n.\r\n0002\r\nIHAVE\r\nNOTIFY\r\n.\r\n");
      await soon(() => connected(hub)).toEqual(["plain"]);
      await door(files("a"), `pin = "${PIN_STRANGER}"\ndial = true`, hub.port);
      await soon(() => connected(hub)).toEqual(["other", "plain"]);
    });
  });

  it("takes a renewed certificate at the next handshake", async () => {
    certificate("renewed");
    const a = await door(files("renewed"), `pin = "${PIN_B}"`);
    const before = await door(files("b"), `pin = "${PIN_A}"\ndial = true`, a.port);
    await before.saw("peer-untrusted");
    copyFileSync(join(DIR, "a.pem"), join(DIR, "renewed.pem"));
    copyFileSync(join(DIR, "a.key"), join(DIR, "renewed.key"));
    const later = new Date(Date.now() + 5000);
    for (const end of ["pem", "key"]) utimesSync(join(DIR, `renewed.${end}`), later, later);
    await before.saw("peer-connected");
  });
});
