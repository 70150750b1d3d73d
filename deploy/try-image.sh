#!/bin/bash
# Builds deploy/Dockerfile and tries the image, without a Docker daemon: as root, on Debian 12 with
#
#   apt-get install buildah debootstrap swaks
#
# It fetches the base image as buildah does; with --import it makes one instead, of Debian's own
# packages and the Node of this machine, under the name that the Dockerfile uses. That is the same
# system in other hands: Debian 12, Node 20 with npm and its headers in /usr/local. Further words go
# to buildah, as where a proxy with a CA of its own stands before the package registry:
# -v /etc/ssl/certs:/etc/ssl/certs:ro -v FILE:/usr/local/etc/npmrc:ro, with cafile= in FILE.
#
# The image then runs with its own user on a read-only root: health check, a mail in, the end by
# SIGTERM. It takes some minutes and is no part of npm test. What it leaves are the two images.
set -euo pipefail
cd "$(dirname "$0")/.."

BASE=docker.io/library/node:20-bookworm-slim
WORK=$(mktemp -d)
CONTAINER=
GATEWAY=
clear_away() {
  [ -z "$GATEWAY" ] || kill -KILL "$GATEWAY" 2>/dev/null || true
  [ -z "$CONTAINER" ] || buildah rm "$CONTAINER" >/dev/null
  rm -rf "$WORK"
}
trap clear_away EXIT

import_base() {
  echo "== making $BASE of Debian's packages and $(command -v node) $(node --version)"
  debootstrap --variant=minbase --include=ca-certificates,libstdc++6 bookworm "$WORK/base" >"$WORK/log"
  local prefix npm
  prefix=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")
  npm=$(npm root --global)/npm
  install -D "$(readlink -f "$(command -v node)")" "$WORK/base/usr/local/bin/node"
  mkdir -p "$WORK/base/usr/local/include" "$WORK/base/usr/local/lib/node_modules"
  cp -a "$prefix/include/node" "$WORK/base/usr/local/include/"
  cp -aL "$npm" "$WORK/base/usr/local/lib/node_modules/npm"
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$WORK/base/usr/local/bin/npm"
  local scratch
  scratch=$(buildah from scratch)
  buildah add -q "$scratch" "$WORK/base" / >/dev/null
  buildah config --cmd node "$scratch"
  buildah commit -q --rm "$scratch" "$BASE" >/dev/null
  rm -rf "$WORK/base"
}

if [ "${1:-}" = --import ]; then
  shift
  import_base
fi

echo "== building"
buildah bud --isolation chroot --pull=false -f deploy/Dockerfile --ignorefile deploy/Dockerfile.dockerignore \
  --build-arg REVISION="$(git rev-parse HEAD)" --format docker -t kx-gateway "$@" . >"$WORK/log" 2>&1 || {
  cat "$WORK/log"
  exit 1
}
buildah inspect --type image --format '{{.Docker.Config.User}} {{.Docker.Config.Healthcheck}}
{{range $k, $v := .Docker.Config.Labels}}{{$k}}={{$v}}
{{end}}' kx-gateway

echo "== starting it as its own user, on a read-only root"
cat >"$WORK/kxgw.toml" <<'TOML'
[site]
address = "pgp-public-keys@kx.example.org"
[log]
path = "/var/lib/kxgw/updates.db"
[smtp]
listen = ["127.0.0.1:0"]
[[peer]]
name = "old"
accept_from = ["127.0.0.1"]
TOML
CONTAINER=$(buildah from kx-gateway)
ROOT=$(buildah mount "$CONTAINER")
mkdir -p "$WORK/volume" "$ROOT/etc/kxgw"
chown 10001:10001 "$WORK/volume"
chmod 755 "$WORK"
# What a container engine does with read_only, volumes and user, by hand.
cat >"$WORK/inside" <<SH
#!/bin/sh
exec unshare --mount --propagation private sh -ec '
    root=$ROOT work=$WORK
    mount --bind "\$root" "\$root"
    mount -t proc proc "\$root/proc"
    mount --bind "\$work/volume" "\$root/var/lib/kxgw"
    mount --bind "\$work/kxgw.toml" "\$root/etc/kxgw/kxgw.toml"
    mount -o remount,ro,bind "\$root"
    exec chroot --userspec=10001:10001 "\$root" env -i PATH=/usr/local/bin:/usr/bin:/bin "\$@"
  ' sh "\$@"
SH
chmod 0755 "$WORK/inside"
touch "$ROOT/etc/kxgw/kxgw.toml"
inside() { "$WORK/inside" "$@"; }
"$WORK/inside" kxgw serve -c /etc/kxgw/kxgw.toml >"$WORK/events" 2>&1 &
GATEWAY=$!
inside kxgw health --wait 20s
if inside touch /app/x 2>/dev/null; then echo "the root can be written to" >&2; exit 1; fi
PORT=$(sed -n 's/.*"event":"ready","smtp":\["127.0.0.1:\([0-9]*\)".*/\1/p' "$WORK/events")
swaks --server "127.0.0.1:$PORT" --from old@old.example.net --to pgp-public-keys@kx.example.org \
  --header "Subject: INCREMENTAL" --body @share/keys/role-4D270D06F42584E6.asc |
  grep "250 2.0.0 Stored 1 new"
kill -TERM "$GATEWAY"
wait "$GATEWAY" || { echo "it ended with $?" >&2; cat "$WORK/events" >&2; exit 1; }
GATEWAY=
if inside kxgw health; then echo "healthy although it is down" >&2; exit 1; fi
echo "== the image is good: $(buildah images --format '{{.Name}} {{.Size}}' kx-gateway)"
