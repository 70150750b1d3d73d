/** Large mails while they come in: memory and disk are bounded, shares and turns are kept. */
import { readdirSync, readlinkSync } from "node:fs";
import { expect, test } from "vitest";
import { Trouble } from "../../src/errors.js";
import { HELD_LIMITS, type HeldLimits, HeldMails } from "../../src/ingress/held-mails.js";
import { scratch } from "../support/scratch.js";

const SMALL = { memoryBytes: 10, fileBytes: 100, clientBytes: 60, strangerBytes: 20 };
const piece = (text: string) => Buffer.from(text);

function held(limits: Partial<HeldLimits> = SMALL): HeldMails {
  const directory = scratch();
  return new HeldMails(directory, { ...HELD_LIMITS, ...limits });
}

/** Files of the directory that this process has open without a name. */
function openFiles(directory: string): number {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(`${directory}/`);
    } catch {
      return false;
    }
  }).length;
}

test("a short message stays in memory, a long one goes to a file without a name", async () => {
  const mails = held();
  const [short, long] = [mails.open("a", false), mails.open("a", false)];
  await short.add(piece("0123456789"));
  expect(openFiles(mails.directory)).toBe(0);
  for (const one of ["01234", "56789", "abc", "de", "fghijklmnop", "q"]) await long.add(piece(one));
  expect(openFiles(mails.directory)).toBe(1);
  expect(readdirSync(mails.directory)).toEqual([]);
  expect(mails.fileBytes).toBeGreaterThan(10);
  expect(String(await short.bytes())).toBe("0123456789");
  expect(String(await long.bytes())).toBe("0123456789abcdefghijklmnopq");
  await long.release();
  await short.release();
  expect([mails.fileBytes, openFiles(mails.directory)]).toEqual([0, 0]);
});

test("what is over a share is the sender's to keep, and gives back its room", async () => {
  const mails = held();
  const fill = async (client: string, isStranger: boolean) => {
    const mail = mails.open(client, isStranger);
    await mail.add(piece("x".repeat(15)));
    return mail;
  };
  const strangers = [await fill("s1", true), await fill("s2", true)];
  const own = [];
  for (let n = 0; n < 5; n++) own.push(await fill("a", false));
  const other = await fill("b", false);
  const full = { kind: "disk-full" };
  await expect(strangers[1]?.bytes()).rejects.toMatchObject(full);
  await expect(own[4]?.bytes()).rejects.toBeInstanceOf(Trouble);
  expect((await other.bytes()).length).toBe(15);
  for (const one of [...strangers, ...own, other]) await one.release();
  expect([mails.fileBytes, openFiles(mails.directory)]).toEqual([0, 0]);
  expect((await (await fill("a", false)).bytes()).length).toBe(15);
});

test("one long message is read at a time, and clients take turns", async () => {
  const mails = held({ memoryBytes: 1 });
  const order: string[] = [];
  const all = ["a1", "a2", "a3", "b1", "c1"].map(async (name) => {
    const mail = mails.open(name.slice(0, 1), false);
    await mail.add(piece(name));
    return mail;
  });
  const opened = await Promise.all(all);
  await Promise.all(
    opened.map(async (mail) => {
      const text = String(await mail.bytes());
      expect(order.includes(text)).toBe(false);
      order.push(text);
      await new Promise((resolve) => setImmediate(resolve));
      expect(order.at(-1)).toBe(text);
      await mail.release();
    }),
  );
  expect(order).toEqual(["a1", "a2", "b1", "c1", "a3"]);
});

test("a directory that cannot be written to is trouble, and nothing stays open", async () => {
  const mails = new HeldMails("/nonexistent/kxgw", { ...HELD_LIMITS, ...SMALL });
  const mail = mails.open("a", false);
  await mail.add(piece("x".repeat(20)));
  await expect(mail.bytes()).rejects.toMatchObject({ kind: "unusable" });
  await mail.release();
  expect(mails.fileBytes).toBe(0);
});
