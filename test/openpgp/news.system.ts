/**
 * News of a key, imported by gpg behind what was sent before: it has the same key as after the
 * whole one.
 * Needs: gpg.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { encodeKey, keyPackets, type TransferableKey } from "../../src/openpgp/key.js";
import { findingNews } from "../../src/openpgp/news.js";
import { finish } from "../../src/steps.js";
import { onlyKey } from "./material.js";
import { hashOf, knowing, sentBefore } from "./sent-before.js";

describe("gpg", () => {
  let home = "";
  const gpg = (args: readonly string[], input?: Uint8Array): Buffer =>
    execFileSync(
      "gpg",
      ["--homedir", home, "--batch", "--quiet", "--no-auto-check-trustdb"].concat(args),
      {
        ...(input === undefined ? {} : { input }),
        stdio: ["pipe", "pipe", "ignore"],
      },
    );
  /** What gpg has of a key after importing these, one after the other. */
  function imported(pieces: readonly TransferableKey[]): string {
    const [first] = pieces as [TransferableKey];
    for (const piece of pieces) {
      try {
        gpg(["--import-options", "import-local-sigs", "--import"], encodeKey(piece));
      } catch {
        // gpg says no to a part without a user id that it can verify; the next one counts.
      }
    }
    const kept = gpg(["--export-options", "export-local-sigs", "--export", first.fingerprint]);
    gpg(["--yes", "--delete-keys", first.fingerprint]);
    return hashOf(onlyKey(kept));
  }

  beforeAll(() => {
    home = mkdtempSync(join(tmpdir(), "kxgw-news-"));
  });
  afterAll(() => {
    rmSync(home, { recursive: true, force: true });
  });

  it("has the same key after the news as after the whole key", () => {
    let [news, shorter] = [0, 0];
    for (const { key, before } of fc.sample(sentBefore, { numRuns: 40, seed: 7 })) {
      const cut = finish(findingNews(key, knowing(before), Date.UTC(2026, 0)));
      if (cut === undefined) continue;
      news += 1;
      if (keyPackets(cut).length < keyPackets(key).length) shorter += 1;
      expect(imported([before, cut])).toBe(imported([before, key]));
    }
    expect(shorter).toBeGreaterThan(5);
    expect(news).toBeGreaterThan(10);
  }, 30_000);
});
