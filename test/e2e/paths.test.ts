/**
 * `via = "auto"` over a real cut: two gateways, KX between them over a wire that the test cuts, and
 * mail between them over a hub that counts. What went one way does not come the other way, but for
 * what was on its way when the road changed.
 */
import { expect, it, onTestFinished } from "vitest";
import { systemClock } from "../../src/clock.js";
import { parseConfig } from "../../src/config/load.js";
import type { EventName, Fields } from "../../src/diagnostics.js";
import { Gateway } from "../../src/gateway.js";
import { checked } from "../support/reported.js";
import { scratch } from "../support/scratch.js";
import { SmtpClient } from "../support/smtp-client.js";
import { pause, quietFor, until } from "../support/until.js";
import { Wire } from "./cut.js";
import { Hub } from "./hub.js";
import { made, mailOf, OLD } from "./material.js";

const SITE_A = "pgp-public-keys@kx.example.org";
const SITE_B = "pgp-public-keys@b.kx.example.org";
const FALLBACK_MS = 600;

/** A gateway of this process, and what it has reported. */
async function gateway(text: string, directory = scratch()) {
  const events: { readonly event: EventName; readonly fields: Fields }[] = [];
  const diagnostics = checked((event, fields) => events.push({ event, fields }));
  const config = (of: string) => parseConfig(of, "kxgw.toml", directory, {});
  const one = await Gateway.start({ clock: systemClock, diagnostics }, config(text));
  onTestFinished(() => one.stop());
  const all = (event: EventName) => events.filter((line) => line.event === event);
  return {
    all,
    directory,
    stop: () => one.stop(),
    reload: (of: string) => one.reload(config(of)),
    smtp: () => one.listening.smtp[0]?.port ?? 0,
    kx: () => one.listening.kx[0]?.port ?? 0,
    admin: () => one.listening.admin?.port ?? 0,
    hashes: () => new Set(all("accepted").map(({ fields }) => fields.hash)),
  };
}

const head = (site: string, relay: string) => `[site]
address = "${site}"
[log]
[smtp]
listen = ["127.0.0.1:0"]
[admin]
listen = "127.0.0.1:0"
[outbound]
relay = "${relay}"
retry = "200ms"
[kx]
listen = ["127.0.0.1:0"]
reconnect = "100ms"
`;

async function pair(mode = "bridge") {
  const hub = await Hub.start();
  const b = await gateway(`${head(SITE_B, hub.url)}[[peer]]
name = "a"
mail = "${SITE_A}"
kx = "127.0.0.1:1"
accept_from = ["127.0.0.1"]
via = "kx"
`);
  const wire = await Wire.lay(() => b.kx());
  const textA = (via: string) => `mode = "${mode}"
${head(SITE_A, hub.url)}[[peer]]
name = "b"
mail = "${SITE_B}"
kx = "127.0.0.1:${wire.port}"
accept_from = ["127.0.0.1"]
dial = true
${via}
[[peer]]
name = "old"
mail = "${OLD}"
accept_from = ["127.0.0.1"]
`;
  const auto = `via = "auto"\nfallback_after = "${FALLBACK_MS}ms"`;
  const a = await gateway(textA(auto));
  hub.addresses.set(SITE_B, { host: "127.0.0.1", port: b.smtp() });
  let n = 0;
  /** Mails so many new updates to A, one by one; the names of those taken before A hung up. */
  const put = async (count: number) => {
    const client = await SmtpClient.connect(a.smtp());
    const hashes: string[] = [];
    for (let i = 0; i < count; i++) {
      const { armor, hash } = made("path", ++n);
      const envelope = { from: "u@user.example", to: SITE_A };
      const reply = await client.deliver(mailOf(armor), envelope).catch(() => undefined);
      if (reply?.code !== 250) break;
      hashes.push(hash);
    }
    client.close();
    return hashes;
  };
  const arrived = (hashes: readonly string[]) =>
    until(
      () => hashes.every((hash) => b.hashes().has(hash)),
      () => `at B: ${hashes.filter((hash) => !b.hashes().has(hash)).length} of ${hashes.length}`,
    );
  const mailed = () => hub.carried.flatMap(({ hashes }) => hashes);
  const carried = (count: number) =>
    until(
      () => mailed().length >= count,
      () => `${mailed().length} of ${count} mails`,
    );
  const served = () => a.all("served").map(({ fields }) => String(fields.hash));
  return { hub, a, b, wire, textA, auto, put, arrived, mailed, carried, served };
}

type Status = { readonly neighbours: readonly Record<string, unknown>[] };

async function neighbour(port: number): Promise<Record<string, unknown>> {
  const answer = await fetch(`http://127.0.0.1:${port}/status.json`);
  return ((await answer.json()) as Status).neighbours[0] ?? {};
}

it("auto: KX while it is there, mail when it was cut for long enough, and back", async () => {
  const { a, wire, put, arrived, mailed, carried, served } = await pair();
  await until(
    () => a.all("peer-connected").length === 1,
    () => "KX",
  );
  const first = await put(20);
  await arrived(first);
  expect(mailed()).toEqual([]);
  // Longer than the fallback: a healthy session mails nothing, and what was served is proven.
  await quietFor(FALLBACK_MS + 400, "a session that counts as down would have mail sent");
  expect(await neighbour(a.admin())).toMatchObject({ path: "kx", via: "auto", state: "good" });

  await wire.cut();
  const cutAt = performance.now();
  const second = await put(5);
  expect(mailed()).toEqual([]);
  await arrived(second);
  expect(performance.now() - cutAt).toBeGreaterThanOrEqual(FALLBACK_MS - 50);
  const third = await put(10);
  await arrived(third);
  await carried(15);
  expect(mailed()).toEqual([...second, ...third]);
  expect(a.all("path-changed").map(({ fields }) => fields)).toEqual([
    { neighbour: "b", path: "mail", reason: `KX has been down for ${FALLBACK_MS}ms` },
  ]);
  expect(await neighbour(a.admin())).toMatchObject({ path: "mail" });

  await wire.mend();
  await until(
    () => a.all("peer-connected").length === 2,
    () => "KX again",
  );
  const fourth = await put(10);
  await arrived(fourth);
  await until(
    () => a.all("path-changed").length === 2,
    () => "the word that it is KX again",
  );
  expect(mailed()).toEqual([...second, ...third]);
  expect(served()).toEqual([...first, ...fourth]);
  const metrics = await (await fetch(`http://127.0.0.1:${a.admin()}/metrics`)).text();
  expect(metrics).toContain('kxgw_peer_path{peer="b",transport="kx"} 1');
});

it("one cursor over every change of via: nothing lost, nothing twice, nobody buried", async () => {
  const { a, wire, textA, auto, put, arrived, mailed, carried, served } = await pair();
  const connected = (count: number) =>
    until(
      () => a.all("peer-connected").length >= count,
      () => `KX for the ${count}th time`,
    );
  await connected(1);
  await a.reload(textA('via = "mail"'));
  const byMail = await put(10);
  await carried(10);

  // To auto in the midst of it: what mail has not taken KX takes.
  const many = put(40);
  await until(() => mailed().length > 10);
  await a.reload(textA(auto));
  const halves = await many;
  expect(halves.length).toBeGreaterThan(0);
  await connected(2);
  const rest = await put(5);
  await arrived(rest);
  await arrived(halves);

  // To kx, whose lane goes on unseen.
  // What was served counts as read once a later LIST is answered, which nothing outside shows.
  await pause(1300);
  await a.reload(textA('via = "kx"'));
  await connected(3);
  expect((await neighbour(a.admin())).site).toBeUndefined();
  const byKx = await put(20);
  await arrived(byKx);
  await pause(1300);
  await wire.cut();
  const before = mailed();
  const left = await put(3);
  await quietFor(2 * FALLBACK_MS, 'via = "auto" would fall back to mail');
  expect(mailed()).toEqual(before);

  // And back to mail: what KX did not get across, and no more.
  await a.reload(textA('via = "mail"'));
  await arrived(left);
  await carried(before.length + 3);
  await quietFor(300, "a mail too many would be sent");
  expect(mailed().slice(before.length)).toEqual(left);
  const carriedAll = [...mailed(), ...served()];
  const wanted = [...byMail, ...rest, ...byKx, ...left];
  expect(wanted).toHaveLength(38);
  for (const hash of wanted) {
    expect(carriedAll.filter((one) => one === hash)).toHaveLength(1);
  }
  expect(carriedAll.length - new Set(carriedAll).size).toBeLessThanOrEqual(1);
});

it("observe: sends by neither road, and says by which it would have", async () => {
  const { a, wire, put, mailed, served } = await pair("observe");
  await until(
    () => a.all("peer-connected").length === 1,
    () => "KX",
  );
  const [byKx] = await put(1);
  await until(() => a.all("would-send").length === 1);
  await wire.cut();
  await pause(FALLBACK_MS + 300);
  const [byMail] = await put(1);
  await until(
    () => a.all("would-send").length >= 2,
    () => "two words",
  );
  await quietFor(300, "a third word or a mail would come");
  const would = a.all("would-send").map(({ fields }) => [fields.hash, fields.via ?? "mail"]);
  expect(would).toEqual([
    [byKx, "kx"],
    [byMail, "mail"],
  ]);
  expect([...mailed(), ...served()]).toEqual([]);
});
