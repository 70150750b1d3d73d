/**
 * Lanes that go on together, over a real log: one transaction for all, no step before its commit,
 * and nothing that the log has not got is taken for stored when the transaction fails.
 */
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { RelayDelivery } from "../../src/delivery/delivery-method.js";
import { Lane, type LaneRun, type LaneStep } from "../../src/delivery/lane.js";
import type { Outcome } from "../../src/delivery/relay.js";
import { resumeTogether, SharedCommit } from "../../src/delivery/shared-commit.js";
import { Trouble } from "../../src/errors.js";
import type { Lanes } from "../../src/log/lanes.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { Recorder } from "../ingress/door.js";
import { directory, SITE, updates } from "./stage.js";

const TAKEN: Outcome = { kind: "delivered", how: "relayed", reply: "250 Ok" };
const FULL = new Trouble("disk-full", "the disk is full", "Free some.");
const clock = { now: () => Date.now(), monotonic: () => performance.now(), random: () => 0 };

/** Lanes that deliver the first of two updates, and a second view of what is on disk. */
function three() {
  const path = join(directory(), "updates.db");
  const log = UpdateLog.open(path);
  const diagnostics = new Recorder();
  const lanes = ["a", "b", "c"].map((name) => {
    const address = `pgp@${name}.example`;
    const envelope = { to: address, from: "k@example.org", site: SITE, maxBytes: 128_000 };
    const transport = { deliver: async () => TAKEN, close: () => {} };
    const method = new RelayDelivery(envelope, () => "b@example.org", transport);
    const site = { name, address, retry: [60_000] as const, observing: false };
    return new Lane({ log, method, clock, diagnostics }, site);
  });
  const origin = { neighbour: undefined, transport: "kx" } as const;
  const arrivals = updates.slice(0, 2).map((update, n) => {
    return { update, origin, trail: [`x${n}@far.example`], receivedAt: Date.now() };
  });
  log.append(arrivals);
  const runs = lanes.map((lane) => lane.run());
  for (const run of runs) expect(stepOf(run.next(undefined))).toMatchObject({ type: "deliver" });
  const disk = UpdateLog.open(path, { readonly: true });
  onTestFinished(() => {
    disk.close();
    log.close();
  });
  return { log, diagnostics, lanes, runs, cursors: () => cursors(disk) };
}

function cursors(log: UpdateLog): (number | undefined)[] {
  return ["a", "b", "c"].map((name) => log.lanes.get(name)?.cursor);
}

function stepOf(next: IteratorResult<LaneStep, void> | undefined): LaneStep | undefined {
  return next?.done === false ? next.value : undefined;
}

/** Transactions that take `work` and then do something else than to commit. */
function failing(lanes: Lanes, fail: () => void): Pick<Lanes, "together"> {
  return {
    together: (work) =>
      lanes.together(() => {
        work();
        fail();
      }),
  };
}

const taken = (runs: readonly LaneRun[]) => runs.map((run) => ({ run, outcome: TAKEN }));

test("what all of them wrote is on disk when their next steps are known, and not before", () => {
  const { log, runs, cursors } = three();
  const during: unknown[] = [];
  const watched = failing(log.lanes, () => during.push(cursors()));
  const steps = resumeTogether(watched, taken(runs)).map(stepOf);
  expect(during).toEqual([[0, 0, 0]]);
  expect(cursors()).toEqual([1, 1, 1]);
  expect(steps).toMatchObject(Array(3).fill({ type: "deliver" }));
});

test("a commit that fails: all wait, store first when they go on, and repeat nothing", () => {
  const { log, runs, diagnostics, cursors } = three();
  const full = failing(log.lanes, () => {
    throw FULL;
  });
  const steps = resumeTogether(full, taken(runs)).map(stepOf);
  expect(steps).toEqual(Array(3).fill({ type: "wait", ms: 5000 }));
  expect(cursors()).toEqual([0, 0, 0]);
  expect(diagnostics.all("log-trouble")).toHaveLength(3);
  const next = resumeTogether(
    log.lanes,
    runs.map((run) => ({ run, outcome: undefined })),
  );
  expect(cursors()).toEqual([1, 1, 1]);
  for (const step of next.map(stepOf)) {
    const hashes = step?.type === "deliver" ? step.updates : [];
    expect(hashes).toEqual([updates[1]?.hash]);
  }
});

test("a refusal that was rolled back is stored with the row, once", () => {
  const { log, runs } = three();
  const refused: Outcome = { kind: "refused", code: 554, words: "554 Bad key" };
  const full = failing(log.lanes, () => {
    throw FULL;
  });
  resumeTogether(
    full,
    runs.map((run) => ({ run, outcome: refused })),
  );
  expect(log.exceptions.counts("a").refused).toBe(0);
  resumeTogether(
    log.lanes,
    runs.map((run) => ({ run, outcome: undefined })),
  );
  expect(log.exceptions.list("a", "refused", 10)).toMatchObject([{ seq: 1, tries: 1 }]);
});

test("the write of one lane fails: nothing of the others is taken for stored", () => {
  const { log, runs, cursors } = three();
  const { save } = log.lanes;
  log.lanes.save = (site, row, also) =>
    save.call(log.lanes, site, row, () => {
      if (site === "b") throw FULL;
      also?.();
    });
  const steps = resumeTogether(log.lanes, taken(runs)).map(stepOf);
  expect(steps).toEqual(Array(3).fill({ type: "wait", ms: 5000 }));
  expect(cursors()).toEqual([0, 0, 0]);
});

test("no transaction can begin: each takes its outcome all the same", () => {
  const { runs, cursors } = three();
  const none = {
    together: () => {
      throw FULL;
    },
  };
  resumeTogether(none, taken(runs));
  expect(cursors()).toEqual([1, 1, 1]);
});

test("a lane alone does not wait, and those of one moment share a transaction", async () => {
  const { log, runs, cursors } = three();
  let groups = 0;
  const counted = {
    together: (work: () => void) => {
      groups += 1;
      log.lanes.together(work);
    },
  };
  const commits = new SharedCommit(counted, clock);
  const [first, ...others] = runs;
  if (first === undefined) throw new Error("no lane");
  await commits.resume(first, TAKEN);
  expect([groups, cursors()]).toEqual([0, [1, 0, 0]]);
  await Promise.all(others.map((run) => commits.resume(run, TAKEN)));
  expect([groups, cursors()]).toEqual([1, [1, 1, 1]]);
});
