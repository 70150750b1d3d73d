/**
 * The order of the system tests: the files that take longest begin, so that none of them runs on
 * alone at the end. Vitest orders by size, which says little of a file that starts other programs.
 */
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** The longest ones, as a run of all shows them. The rest follows in the order of vitest. */
export const LONGEST: readonly string[] = [
  "test/package-deb.system.ts",
  "test/cluster/gateways.system.ts",
  "test/torture/cluster.system.ts",
  "test/cluster/storage-suite.system.ts",
  "test/interop/postfix.interop.ts",
  "test/admin/screens.system.ts",
  "test/interop/recon.interop.ts",
  "test/interop/ring.interop.ts",
  "test/interop/migration.interop.ts",
  "test/interop/local.interop.ts",
];

/** `files` with those of LONGEST first, in its order; the rest stays in the order it has. */
export function longestFirst<T extends { readonly moduleId: string }>(files: readonly T[]): T[] {
  const rank = ({ moduleId }: T) => {
    const at = LONGEST.findIndex((name) => moduleId.endsWith(`/${name}`));
    return at < 0 ? LONGEST.length : at;
  };
  return [...files].sort((a, b) => rank(a) - rank(b));
}

/** The same for vitest, behind its own order. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return longestFirst(await super.sort(files));
  }
}
