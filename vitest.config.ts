import { defineConfig } from "vitest/config";
import { IS_LONG } from "./test/support/cases.js";

export default defineConfig({
  test: {
    projects: [
      { extends: true, test: { name: "all", include: ["test/**/*.test.ts"] } },
      {
        extends: true,
        test: {
          name: "shared",
          include: ["test/log/*.test.ts"],
          // Of files, not of what is in them; and of copies anyway.
          exclude: [
            "test/log/backup.test.ts",
            "test/log/connection-*.test.ts",
            "test/log/schema.test.ts",
            "test/log/key-index.test.ts",
            "test/log/move.test.ts",
            "test/log/shared-cop*.test.ts",
            // Some hundred logs each, of which each would have three copies.
            "test/log/hash-index.test.ts",
            "test/log/pending.test.ts",
            "test/log/retention-hold.test.ts",
          ],
          // Three copies, and a comparison of all their rows.
          testTimeout: 120_000,
          hookTimeout: 120_000,
          setupFiles: ["test/log/over-shared.ts"],
        },
      },
    ],
    // A test that asserts nothing fails.
    expect: { requireAssertions: true },
    // Three at once, also on two cores: many wait for other processes, disks and timers.
    maxWorkers: 3,
    testTimeout: IS_LONG ? 200_000 : 20_000,
    hookTimeout: 20_000,
  },
});
