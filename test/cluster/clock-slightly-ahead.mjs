/** The database thread of the build, on a host whose clock is 20 seconds ahead. */
const now = Date.now;
Date.now = () => now() + 20_000;
await import("../../dist/cluster/worker.js");
