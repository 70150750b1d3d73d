import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.system.ts", "test/interop/**/*.interop.ts"],
    globalSetup: ["test/system/setup.ts", "test/interop/setup.ts"],
    // Each case runs whole mail systems or a browser; two at once would only wait for each other.
    fileParallelism: false,
    testTimeout: 180_000,
    hookTimeout: 60_000,
  },
});
