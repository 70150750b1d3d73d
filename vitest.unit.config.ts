import { defineConfig } from "vitest/config";

/** Rooms without sockets and processes, which are done in seconds. */
const QUICK = ["config", "kx", "mail", "migration", "openpgp", "reference", "log"];

export default defineConfig({
  test: {
    include: ["test/*.test.ts", ...QUICK.map((room) => `test/${room}/**/*.test.ts`)],
    // Half a minute of random configs; the pages as a shell runs them.
    exclude: [
      "test/config/load-fuzz.test.ts",
      "test/migration-page.test.ts",
      "test/deploy.test.ts",
    ],
    expect: { requireAssertions: true },
    maxWorkers: 2,
    testTimeout: 20_000,
  },
});
