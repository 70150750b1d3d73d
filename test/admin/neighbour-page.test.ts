/**
 * The page of a neighbour over HTTP: what it says, in which order neighbours stand, an unknown one,
 * a gateway that has none, and what a public page must not say.
 */
import { expect, test } from "vitest";
import { byTrouble } from "../../src/admin/neighbours-section.js";
import { status } from "../../src/status/status.js";
import { preparedDoor, preparedSources } from "./prepared.js";
import { dead, empty, observing, twenty } from "./scenes.js";

async function get(base: string, path: string) {
  const answer = await fetch(`${base}${path}`);
  const html = await answer.text();
  const text = html.replace(/<[^>]+>/g, " ").replace(/\s+/g, " ");
  return { code: answer.status, html, text };
}

test("those with trouble stand first, then by name", async () => {
  const sorted = byTrouble(status(twenty()).neighbours);
  const states = sorted.map(({ state, site }) => (site?.refusesAll ? "refuses" : state));
  expect([...new Set(states)]).toEqual(["down", "refuses", "behind", "paused", "pending", "good"]);
  const good = sorted.filter(({ state }) => state === "good").map(({ name }) => name);
  expect(good.slice(0, 4)).toEqual(["[local]", "keyserver-1", "keyserver-2", "keyserver-5"]);
  expect(sorted.find(({ state }) => state === "pending")?.name).toBe("keyserver-20");
  const { html } = await get(await preparedDoor(twenty()), "/");
  const links = [...html.matchAll(/<th scope="row"><a href="\/neighbour\/([^"]+)"/g)];
  expect(links.map(([, name = ""]) => decodeURIComponent(name))).toEqual(
    sorted.map(({ name }) => name),
  );
});

test("path, queue with answers, events and what to do", async () => {
  const { code, text, html } = await get(await preparedDoor(dead()), "/neighbour/oldpks");
  expect(code).toBe(200);
  expect(text).toContain("oldpks – down");
  expect(text).toMatch(/What to do oldpks accepts no mail, 14 updates wait: 550 5\.7\.1 .*/);
  expect(text).toContain("Check its mail address, and whether the relay may send to it.");
  expect(text).toMatch(/Mail pgp-public-keys@pks\.example\.net/);
  expect(text).toMatch(/Failed tries 7 Next try in 3 min/);
  expect(text).toMatch(/14 updates wait, the oldest for 30 min; next is #3 [0-9A-F]{40}/);
  expect(text).toContain("Not taken: 40 refused, 20 set aside");
  expect(text).toMatch(
    /#3 set aside : 554 5\.6\.0 This key is not welcome .* 3 failed tries, next/,
  );
  expect(text).toMatch(/#1 refused : 554 5\.6\.0 This key/);
  expect(text).toMatch(/20 more: kxgw queue ls oldpks/);
  expect(html.match(/<li class="(info|warn|error)"/g)).toHaveLength(50);
  expect(text).toMatch(/warn: delivery failed temporarily; it is retried 550 5\.7\.1/);
  expect(text).not.toContain("zurich");
});

test("one that refuses everything, one without KX, one that is only followed", async () => {
  const base = await preparedDoor(dead());
  const refuses = await get(base, "/neighbour/onak-home");
  expect(refuses.text).toMatch(/What to do onak-home refuses every update/);
  const kx = await get(base, "/neighbour/zurich");
  expect(kx.text).toContain("zurich is not connected by KX: connect ETIMEDOUT.");
  expect(kx.html).toContain("<code>kxgw peers test zurich</code> checks the connection.");
  const recon = await get(base, "/recon/2");
  expect(recon.text).toContain("it closed the connection after the greeting: mismatched filters");
  expect(recon.text).toContain("Its operator has to list this gateway as a partner.");
});

test("[local] has a page, and names are taken from the URL as they are", async () => {
  const base = await preparedDoor(twenty());
  expect((await get(base, "/neighbour/%5Blocal%5D")).text).toContain("[local] – in sync");
  expect((await get(base, "/neighbour/[local]")).code).toBe(200);
});

test.each(["nobody", "<script>alert(1)</script>", "%E0%A4%A", "", "oldpks/x", "__proto__"])(
  "%s is no neighbour, in words",
  async (name) => {
    const { code, text, html } = await get(
      await preparedDoor(dead()),
      `/neighbour/${name.startsWith("%") ? name : encodeURIComponent(name)}`,
    );
    expect(code).toBe(404);
    expect(text).toContain("The config has no neighbour with this name. It has these: oldpks");
    expect(html).not.toContain("<script>alert");
  },
);

test.each(["0", "3", "x", "-1", "1e1", "99999999999"])(
  "/recon/%s is none either",
  async (place) => {
    const { code, text } = await get(await preparedDoor(dead()), `/recon/${place}`);
    expect(code).toBe(404);
    expect(text).toContain("The config has no neighbour with this name.");
  },
);

test("a public page has no address, on any page", async () => {
  const base = await preparedDoor(dead(true));
  const paths = ["/", "/neighbour/oldpks", "/neighbour/zurich", "/neighbour/onak-home"];
  const more = ["/recon/1", "/recon/2", "/neighbour/x", "/status.json", "/?words=550&level=warn"];
  for (const path of [...paths, ...more]) {
    const { html } = await get(base, path);
    expect([path, html.match(/[\w-]+\.example\.(net|org|com|edu)|public-keys@/g)]).toEqual([
      path,
      null,
    ]);
  }
});

test("a gateway without neighbours says what to do; one without updates too", async () => {
  const none = await get(await preparedDoor(empty()), "/");
  expect(none.text).toContain("Next step: the first neighbour");
  expect(none.text).toContain("kxgw check --online");
  expect(none.html).not.toMatch(/(href|src|action)="https?:/);
  const { sources } = preparedSources(false, false);
  const fresh = await get(await preparedDoor(sources), "/");
  expect(fresh.text).toContain("Next step: the first update");
  expect(fresh.text).toContain("kxgw backfill onak-home --days 14");
  const busy = await get(await preparedDoor(preparedSources().sources), "/");
  expect(busy.text).not.toContain("Next step");
});

test("a summary of observe mode in mode observe only", async () => {
  const { text } = await get(await preparedDoor(observing()), "/");
  expect(text).toContain("Observe mode: what would have been sent");
  const busy = await get(await preparedDoor(preparedSources().sources), "/");
  expect(busy.text).not.toContain("Observe mode");
});

test("the page says when it was made, and reloads by itself without scripts", async () => {
  const { html } = await get(await preparedDoor(dead()), "/neighbour/oldpks");
  expect(html).toContain('<noscript><meta http-equiv="refresh" content="60"></noscript>');
  expect(html).toContain(
    '<time datetime="2026-11-23T14:40:00.000Z">2026-11-23 14:40:00 UTC</time>',
  );
  expect(html).not.toMatch(/ style=| on[a-z]+="|<style|<script>/);
});
