#!/bin/sh
# Installs what `npm run test:system` needs, on Debian, as root: the packages of programs.json, with
# no daemon of them started.
set -eu
cd "$(dirname "$0")"
packages=$(node -p 'Object.values(require("./programs.json")).join(" ")')
export DEBIAN_FRONTEND=noninteractive
# invoke-rc.d and deb-systemd-invoke ask this before they start anything; 101 forbids it.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi
apt-get update -q
apt-get install -y -q --no-install-recommends debconf
echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
# shellcheck disable=SC2086 # a list of words
apt-get install -y -q --no-install-recommends $packages
