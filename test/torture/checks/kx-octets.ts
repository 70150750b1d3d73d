/**
 * Binary KX/1.1 under hard conditions (row 47): a gateway is killed while it fetches thousands of
 * updates in octets; an UPDATE is cut at random places, and comes octet by octet; messages of the
 * largest size and of one more; octets that inflate to more than they say. Each update is stored
 * once and whole, and memory stays where it is. Control: an UPDATE whose length is one too small.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { deflateRawSync } from "node:zlib";
import { UpdateLog } from "../../../src/log/update-log.js";
import { holdsWithin, pause } from "../../support/until.js";
import { Burden } from "../burden.js";
import { type Check, type Context, goesOn } from "../check.js";
import { type KxStage, kxStage, rudeAddress } from "../kx-stage.js";
import { Ledger } from "../ledger.js";
import { made } from "../material.js";
import { logName, OctetsPeer } from "../octets-peer.js";
import { World } from "../world.js";

const MIB = 2 ** 20;
const MOST_BYTES = 8 * MIB;
/** More than all kills meet. */
const UPDATES = 3000;
/** A kill comes when so many have come in, at most, and after a while in any case. */
const MOST_ROWS = 300;
const WAIT_MS = 5000;
const MOST_KILLS = 12;
const MOST_CUTS = 300;
const BOMBS = 9;
const MOST_GROWTH_MIB = 128;
const CONTROLS = 5;

export const kxOctets: Check = {
  name: "octets",
  rows: [47],
  promise: "binary KX survives kills, cuts, the largest messages and bombs",
  runs: 300,
  share: 1,
  async run(context) {
    const faults: string[] = [];
    const killed = await kills(context, faults);
    const directory = join(context.directory, "stage");
    mkdirSync(directory);
    const stage = await kxStage(context, 4, 100, directory);
    try {
      const cut = await cuts(context, stage, faults);
      const burden = new Burden(stage.gateway.pid);
      const sizes = await largest(context, stage, faults);
      const bombs = await bombed(stage, faults);
      const { grewMib } = burden.end();
      if (grewMib > MOST_GROWTH_MIB) faults.push(`the process grew by ${grewMib} MiB`);
      if ((await stage.peer.fetch(1))?.command !== "UPDATE") faults.push("others are not served");
      const taken = await shortLengths(context, stage);
      return {
        faults,
        figures: `${killed}; ${cut}; ${sizes}; ${bombs}, +${grewMib} MiB`,
        control: {
          caught: taken === 0,
          figures: `a length one too small: ${taken} of ${CONTROLS} stored`,
        },
      };
    } finally {
      await stage.end();
    }
  },
};

/** One gateway fetches all that another one has, and is killed again and again meanwhile. */
async function kills(context: Context, faults: string[]): Promise<string> {
  const { directory, build, random, seed } = context;
  const [left, right] = ["left", "right"].map((name) => join(directory, name)) as [string, string];
  for (const one of [left, right]) mkdirSync(one);
  const all = Array.from({ length: UPDATES }, (_, n) => made(seed, n, (n * 131) % 3000));
  const more = '[kx]\nlisten = ["127.0.0.1:0"]\n[[peer]]\nname = "right"\nkx = "127.0.0.1:1"\n';
  const source = await World.make({ directory: left, build, more });
  const log = UpdateLog.open(source.log);
  const origin = { neighbour: "elsewhere", transport: "kx" } as const;
  const receivedAt = Date.now();
  log.append(all.map(({ update }) => ({ update, origin, trail: [], receivedAt })));
  log.close();
  const server = await source.start();
  const peer = `kx = "127.0.0.1:${server.port("kx")}"\ndial = true\n`;
  const world = await World.make({
    ...{ directory: right, build },
    more: `[kx]\nlisten = ["127.0.0.1:0"]\nreconnect = "1s"\n[[peer]]\nname = "left"\n${peer}`,
  });
  const ledger = new Ledger();
  let [done, within] = [0, 0];
  try {
    for (; done < MOST_KILLS && goesOn(context, done, 3); done += 1) {
      const gateway = await world.start();
      const before = ledger.kept;
      const wanted = Math.floor(random() * MOST_ROWS);
      const came = () => gateway.events.filter(({ event }) => event === "accepted").length;
      await holdsWithin(() => came() > wanted, WAIT_MS, 1);
      await gateway.end("SIGKILL");
      ledger.audit(world.log, []);
      if (ledger.kept > before && ledger.kept < UPDATES) within += 1;
    }
    const gateway = await world.start();
    const isThere = () => {
      ledger.audit(world.log, []);
      return ledger.kept >= UPDATES;
    };
    if (!(await holdsWithin(isThere, 60_000, 200)))
      faults.push(`${ledger.kept} of ${UPDATES} came`);
    await gateway.end();
    ledger.audit(world.log, [], true);
    faults.push(...ledger.faults.slice(0, 3));
    const missing = all.filter(({ update }) => !ledger.holds(update.hash)).length;
    if (missing > 0) faults.push(`${missing} updates are missing`);
  } finally {
    await server.end();
    await world.end();
    await source.end();
  }
  const told = `${done} kills of a gateway that fetches ${UPDATES}, ${within} amid new ones`;
  return `${told}: ${ledger.kept} rows, each once`;
}

/** An update is cut somewhere, the next connection cuts it again; at last it comes as a trickle. */
async function cuts(context: Context, stage: KxStage, faults: string[]): Promise<string> {
  const { random, seed } = context;
  const [from, log] = [rudeAddress(0), logName()];
  const one = made(seed, 1_000_000);
  let cut = 0;
  for (; cut < MOST_CUTS && goesOn(context, cut, 10); cut += 1) {
    const peer = new OctetsPeer({
      ...{ port: stage.port, from, log, updates: [one] },
      give: (self, tag) => {
        const bytes = self.frame(tag, 1, one);
        self.write(bytes.subarray(0, Math.floor(random() * bytes.length)));
        self.socket.end();
      },
    });
    await Promise.race([peer.closed, pause(20_000)]);
    if (peer.isClosed) continue;
    faults.push(`after ${cut} cuts the update is not asked for any more`);
    peer.socket.destroy();
    break;
  }
  if (stage.gateway.events.some(({ hash }) => hash === one.update.hash)) {
    faults.push("a part of an update was taken for it");
  }
  const slow = new OctetsPeer({
    ...{ port: stage.port, from, log, updates: [one] },
    give: async (self, tag) => {
      for (const octet of self.frame(tag, 1, one)) {
        self.write(Buffer.of(octet));
        await pause(1);
      }
    },
  });
  const stored = () =>
    stage.gateway.events.filter(({ event, hash }) => {
      return event === "accepted" && hash === one.update.hash;
    });
  if (!(await holdsWithin(() => stored().length > 0, 20_000)))
    faults.push("it did not come at last");
  slow.socket.destroy();
  if (stored().length > 1) faults.push(`it was stored ${stored().length} times`);
  return `an UPDATE cut ${cut} times, then octet by octet: stored once`;
}

/** Messages of the largest size, and of one octet more. */
async function largest({ seed }: Context, stage: KxStage, faults: string[]): Promise<string> {
  const one = made(seed, 2_000_000);
  const sizes: number[] = [];
  const peer = new OctetsPeer({
    ...{ port: stage.port, from: rudeAddress(1), updates: [one] },
    give: (self, tag) => {
      const size = MOST_BYTES + sizes.length;
      sizes.push(size);
      const head = Buffer.from(`${self.tag()}\r\nUPDATE ${size}\r\n${tag}\r\n`);
      self.write(Buffer.concat([head, Buffer.alloc(size, "."), Buffer.from(".\r\n")]));
    },
  });
  await peer.opened;
  const isLive = async () => {
    const tag = peer.tag();
    await peer.say(`${tag}|LIST|1|.|`);
    return await holdsWithin(() => peer.answers("IHAVE", tag).length > 0, 20_000);
  };
  if (!(await holdsWithin(() => sizes.length > 0, 20_000))) faults.push("it was not asked");
  if (!(await isLive())) faults.push("an UPDATE of 8 MiB ends the connection");
  const tag = peer.tag();
  const above = MOST_BYTES + 1;
  await peer.say(`${tag}|UPDATE ${above}|zzzz|${"x".repeat(above)}.|`);
  if (!(await isLive())) faults.push("an UPDATE above 8 MiB ends the connection");
  const listing = peer.tag();
  await peer.say(`${listing}|IHAVE ${MOST_BYTES}||${"\0".repeat(MOST_BYTES)}.|`);
  if (!(await isLive())) faults.push("an IHAVE of 8 MiB ends the connection");
  if (peer.answers("ERROR", listing).length !== 1) faults.push("an IHAVE of 8 MiB is no error");
  await peer.say(`${peer.tag()}|IHAVE ${above}||`);
  if (!(await holdsWithin(() => peer.isClosed, 20_000)))
    faults.push("an IHAVE above 8 MiB is read");
  return (
    "UPDATE of 8 MiB refused and of one more skipped, " +
    "IHAVE of 8 MiB malformed and of one more the end"
  );
}

/** Octets that inflate to the largest size, and to a hundred times of what they say. */
async function bombed(stage: KxStage, faults: string[]): Promise<string> {
  const whole = deflateRawSync(Buffer.alloc(MOST_BYTES));
  const more = deflateRawSync(Buffer.alloc(25 * MOST_BYTES));
  const peer = new OctetsPeer({ port: stage.port, from: rudeAddress(2) });
  await peer.opened;
  for (let n = 0; n < BOMBS; n += 1) {
    const bytes = n % 2 === 0 ? whole : more;
    const head = `${peer.tag()}\r\nIHAVE ${bytes.length} ${MOST_BYTES}\r\n\r\n`;
    peer.write(Buffer.concat([Buffer.from(head), bytes, Buffer.from(".\r\n")]));
  }
  const refused = () => peer.answers("ERROR").length === BOMBS;
  if (!(await holdsWithin(refused, 20_000))) faults.push("not every bomb is malformed");
  if (peer.isClosed) faults.push("the connection ended before the tenth bad message");
  peer.socket.destroy();
  return `${BOMBS} bombs of 8 and 200 MiB in ${Math.round(more.length / 1024)} kB refused`;
}

async function shortLengths({ seed }: Context, stage: KxStage): Promise<number> {
  let taken = 0;
  for (let n = 0; n < CONTROLS; n += 1) {
    const one = made(seed, 3_000_000 + n);
    const peer = new OctetsPeer({
      ...{ port: stage.port, from: rudeAddress(3), updates: [one] },
      give: (self, tag) => {
        const text = self.frame(tag, 1, one).toString("latin1");
        const wrong = text.replace(/UPDATE (\d+)/, (_, size) => `UPDATE ${Number(size) - 1}`);
        self.write(Buffer.from(wrong, "latin1"));
      },
    });
    await Promise.race([peer.closed, pause(5000)]);
    peer.socket.destroy();
    if (stage.gateway.events.some(({ hash }) => hash === one.update.hash)) taken += 1;
  }
  return taken;
}
