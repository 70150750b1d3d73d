/** Temporary directories of tests. Each is removed with what it holds, however the test ends. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, onTestFinished } from "vitest";

/** A directory that is removed when the running test is finished. */
export function scratch(): string {
  const directory = make();
  onTestFinished(() => remove(directory));
  return directory;
}

/** A directory for all tests of a file, which is removed after the last of them. */
export function scratchOfFile(): string {
  const directory = make();
  afterAll(() => remove(directory));
  return directory;
}

function make(): string {
  return mkdtempSync(join(tmpdir(), "kxgw-test-"));
}

function remove(directory: string): void {
  rmSync(directory, { recursive: true, force: true });
}
