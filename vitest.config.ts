import { defineConfig } from "vitest/config";

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
            "test/log/shared-copy.test.ts",
          ],
          setupFiles: ["test/log/over-shared.ts"],
        },
      },
    ],
    // Two at once, also on two cores: half of the tests wait for other processes, disks and timers.
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 20_000,
  },
});
