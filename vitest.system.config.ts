import { defineConfig } from "vitest/config";
import { LongestFirst } from "./test/system/longest-first.js";

export default defineConfig({
  test: {
    include: ["test/**/*.system.ts", "test/interop/**/*.interop.ts"],
    globalSetup: ["test/system/setup.ts", "test/interop/setup.ts"],
    // Each case waits most of its time for mail systems, databases and timers. Three at once use
    // two cores by about half, so that none is late.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    testTimeout: 180_000,
    hookTimeout: 60_000,
  },
});
