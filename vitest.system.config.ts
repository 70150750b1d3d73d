import { defineConfig } from "vitest/config";
import { LongestFirst } from "./test/system/longest-first.js";

export default defineConfig({
  test: {
    include: ["test/**/*.system.ts", "test/interop/**/*.interop.ts"],
    globalSetup: ["test/system/setup.ts", "test/interop/setup.ts"],
    // Three at once, also on two cores: each case waits much of its time for mail systems,
    // databases and timers.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    // A test that asserts nothing fails.
    expect: { requireAssertions: true },
    testTimeout: 180_000,
    hookTimeout: 60_000,
  },
});
