/** A lane whose path is shut sends nothing and keeps its place; open, it sends what KX left. */
import { expect, test } from "vitest";
import { DrivenLane, later } from "./driven-lane.js";
import { ADDRESS, updates } from "./stage.js";

const AUTO = { via: "auto", fallbackMs: 150 } as const;
const hash = (n: number) => updates[n]?.hash;

test("what the site never fetched is mailed once, and the cursor is past it", () => {
  const site = new DrivenLane({ path: AUTO });
  site.session(true);
  site.start();
  const [first, , third] = [site.add(0), site.add(1), site.add(2)];
  site.pass(300);
  // The site has fetched the first and the last one; the second it does not want.
  site.log.trails.note([first, third].map((seq) => ({ seq, address: ADDRESS })));
  site.pass(1000);
  expect(site.row?.cursor).toBe(1);
  expect(site.seen).toEqual([]);
  const path = { road: "kx", isOpen: false, opensAt: 0 };
  expect(site.lane.status()).toMatchObject({ path });

  site.session(false);
  expect(site.lane.status().path).toMatchObject({ opensAt: site.clock.now() + 150 });
  site.pass(149);
  expect(site.seen).toEqual([]);
  site.pass(1);
  expect(site.hashes).toEqual([hash(1)]);
  expect(site.row?.cursor).toBe(3);

  // KX is back and goes again: nothing of it is mailed a second time.
  site.session(true);
  site.pass(200);
  site.session(false);
  site.pass(400);
  site.add(3);
  expect(site.hashes).toEqual([hash(1), hash(3)]);
  const changes = site.diagnostics.all("path-changed").map(({ path }) => path);
  expect(changes).toEqual(["mail", "kx", "mail"]);
});

test("shut, it does not wait for what has expired, and holds nothing", () => {
  const site = new DrivenLane({ path: { via: "kx", fallbackMs: 0 } }).start();
  site.add(0, { receivedAt: site.clock.now() - 120_000 });
  site.add(1);
  site.pass(5000);
  expect(site.row?.cursor).toBe(0);
  site.log.retention.expire(site.clock.now(), { retainMs: 60_000, rememberMs: 1e12 }, 100);
  site.pass(1000);
  expect(site.diagnostics.all("unfetched")).toMatchObject([{ seq: 1 }]);
  expect(site.row?.cursor).toBe(1);
  expect(site.lane.isOpen).toBe(false);
});

test("a retry that is put off ends when KX takes over", () => {
  const site = new DrivenLane({ path: { via: "auto", fallbackMs: 0 }, retry: [60_000] }).start();
  site.answer = () => later();
  const seq = site.add(0);
  expect(site.waitMs).toBe(60_000);
  site.session(true);
  site.log.trails.note([{ seq, address: ADDRESS }]);
  site.pass(1000);
  expect(site.row).toMatchObject({ cursor: 1, attempt: 0, nextAt: 0 });
  site.answer = () => undefined;
  site.session(false);
  site.add(1);
  expect(site.hashes).toEqual([hash(1)]);
});

test("an update of several mails stops between two of them when KX takes over", () => {
  const site = new DrivenLane({ path: { via: "auto", fallbackMs: 0 }, maxMailBytes: 3000 }).start();
  site.answer = () => "hold";
  const seq = site.add(updates.findIndex(({ body }) => body.length > 8000));
  site.session(true);
  site.finish();
  expect(site.seen).toHaveLength(1);
  expect(site.row).toMatchObject({ cursor: 0, part: 1 });
  site.log.trails.note([{ seq, address: ADDRESS }]);
  site.pass(1000);
  expect(site.row).toMatchObject({ cursor: 1, part: 0 });
});

test("both: mail goes whatever KX does, but not to a site that has the update", () => {
  const site = new DrivenLane({ path: { via: "both", fallbackMs: 600_000 } });
  site.session(true);
  site.start();
  site.add(0, { trail: [ADDRESS] });
  site.add(1);
  expect(site.diagnostics.all("suppressed")).toMatchObject([{ seq: 1 }]);
  expect(site.hashes).toEqual([hash(1)]);
});

test("the path is reported when it changes by time alone, also during a pause", () => {
  const site = new DrivenLane({ path: { via: "both", fallbackMs: 600_000 } });
  site.session(true);
  site.start();
  site.lane.pause();
  site.pass(60_000);
  site.session(false);
  site.pass(59_999);
  expect(site.diagnostics.all("path-changed")).toEqual([]);
  // Whoever asks what the path is changes nothing.
  expect(site.lane.isOpen).toBe(true);
  expect(site.lane.status().path).toMatchObject({ road: "both" });
  site.pass(1);
  expect(site.diagnostics.all("path-changed")).toMatchObject([{ neighbour: "old", path: "mail" }]);
});
