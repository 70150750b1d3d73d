/**
 * The KX door of a gateway that shares its site with others: it dials a peer while it has the
 * lease, and greets with the newest state of the site.
 */
import type { Socket } from "node:net";
import { createServer } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../src/clock.js";
import type { LeaseHolder, Leases } from "../../src/cluster/leases.js";
import { parseConfig } from "../../src/config/load.js";
import { GroupCommit } from "../../src/intake/group-commit.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { KxDoor } from "../../src/peering/tcp.js";
import { listening } from "../support/ports.js";
import { quietFor, until } from "../support/until.js";
import { made } from "../torture/material.js";

const GREETING = "a000|HELO|1.0|.|a001|IHAVE|NOTIFY|.|".replaceAll("|", "\r\n");

/** A peer that is dialled, a door that may have to share it, and its lease by hand. */
async function stage(refresh: (log: UpdateLog) => void = () => {}) {
  const sockets: Socket[] = [];
  const heard: string[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => socket.destroy());
    socket.on("data", (bytes) => heard.push(bytes.toString("latin1")));
    socket.write(GREETING);
  });
  const port = await listening(server);
  const text = `[site]\naddress = "keys@kx.example.org"\n[log]\n[kx]\nlisten = []
reconnect = "30ms"\n[[peer]]\nname = "friend"\nkx = "127.0.0.1:${port}"\ndial = true\n`;
  const config = parseConfig(text, "test.toml", "/", {});
  if (config.kx === undefined) throw new Error("no [kx]");
  const log = UpdateLog.open(":memory:");
  const holders = new Map<string, LeaseHolder>();
  const leases: Leases = {
    ask: (lease, holder) => {
      holders.set(lease, holder);
      return () => holders.delete(lease);
    },
  };
  const appends = new GroupCommit(log);
  const components = { log, appends, clock: systemClock, diagnostics: { report: () => {} } };
  const door = new KxDoor(
    { ...components, leases, refresh: () => refresh(log) },
    { ...config, kx: config.kx },
  );
  await door.start();
  onTestFinished(async () => {
    await door.stop();
    for (const socket of sockets) socket.destroy();
    server.close();
    log.close();
  });
  const lease = () => {
    const holder = holders.get("dial:friend");
    if (holder === undefined) throw new Error("the lease is not asked for");
    return holder;
  };
  const isConnected = () => door.status()[0]?.connected === true;
  return { door, sockets, heard, holders, lease, isConnected };
}

test("dials with the lease, hangs up without it, and dials again when it is back", async () => {
  const { door, sockets, lease, isConnected } = await stage();
  door.showedLife("friend");
  expect(door.dialNow("friend")).toBe(false);
  await quietFor(100, "it would have dialled");
  expect(sockets).toHaveLength(0);
  lease().take();
  await until(isConnected);
  expect(sockets).toHaveLength(1);
  lease().lose();
  await until(() => !isConnected());
  await quietFor(200, "it would have dialled again after 30 ms");
  expect(sockets).toHaveLength(1);
  lease().take();
  await until(isConnected);
  expect(sockets).toHaveLength(2);
});

test("gives the lease back when it stops", async () => {
  const { door, lease, holders, isConnected } = await stage();
  lease().take();
  await until(isConnected);
  await door.stop();
  expect([...holders]).toEqual([]);
});

test("greets with what other gateways have committed meanwhile", async () => {
  const origin = { neighbour: undefined, transport: "mail" } as const;
  const { update } = made("another", 1);
  const { heard, lease } = await stage((log) => {
    log.append([{ update, origin, trail: [], receivedAt: 1 }]);
  });
  lease().take();
  await until(() => heard.join("").includes("IHAVE"));
  const greeting = heard.join("").split("\r\n.\r\n", 2).join("\n");
  expect(greeting).toContain(update.hash);
});
