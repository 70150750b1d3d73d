#!/bin/bash
# Boots a Debian 12 in a container of systemd-nspawn, installs kxgw there as docs/install.md says,
# and tries the units: start, mail on port 25 and by LMTP, reload, restart under load, watchdog, and
# what happens when the config is at fault. As root, on Debian 12 with
#
#   apt-get install systemd-container debootstrap
#
# after npm run build. It takes two minutes, needs a Debian mirror, and is no part of npm test. The
# container has no network and is gone afterwards; DIRECTORY, if named, keeps the Debian for later.
#
#   deploy/try-systemd.sh [DIRECTORY]
set -euo pipefail
cd "$(dirname "$0")/.."

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
DEBIAN=${1:-$WORK/debian}
ROOT=$WORK/root

if [ ! -e "$DEBIAN/usr/bin/swaks" ]; then
  echo "== fetching Debian 12"
  debootstrap --include=systemd,systemd-sysv,dbus,procps,swaks,libnss-systemd bookworm "$DEBIAN" \
    >"$WORK/log" || { tail "$WORK/log"; exit 1; }
fi
cp -a "$DEBIAN" "$ROOT"

echo "== installing kxgw"
HOME_OF=$ROOT/usr/lib/node_modules/kx-gateway
install -D "$(readlink -f "$(command -v node)")" "$ROOT/usr/bin/node"
mkdir -p "$HOME_OF" "$ROOT/etc/kxgw" "$ROOT/etc/systemd/system/kxgw.service.d"
cp -a dist node_modules package.json "$HOME_OF/"
cp -a share "$HOME_OF/"
chmod 0755 "$HOME_OF/dist/main.js"
ln -s ../lib/node_modules/kx-gateway/dist/main.js "$ROOT/usr/bin/kxgw"
install -m 0644 deploy/kxgw.sysusers "$ROOT/usr/lib/sysusers.d/kxgw.conf"
install -m 0644 deploy/kxgw.service deploy/kxgw-*.socket "$ROOT/etc/systemd/system/"
# There is no Postfix in it.
sed -i 's/^SocketGroup=postfix/SocketGroup=mail/' "$ROOT/etc/systemd/system/kxgw-lmtp.socket"
install -m 0600 /dev/null "$ROOT/etc/kxgw/relay-password"
echo secret >"$ROOT/etc/kxgw/relay-password"
# The lines that the unit itself names for a credential.
sed -n '/^#   LoadCredential/,/^#   ExecReload=\/bin/s/^#   //p' deploy/kxgw.service |
  { echo "[Service]"; cat; } >"$ROOT/etc/systemd/system/kxgw.service.d/credential.conf"
cat >"$ROOT/etc/kxgw/kxgw.toml" <<'TOML'
[site]
address = "pgp-public-keys@keys.example.org"
[log]
path = "/var/lib/kxgw/updates.db"
[smtp]
listen = ["systemd:smtp", "lmtp:/run/kxgw/lmtp.sock"]
[kx]
[admin]
[outbound]
relay = "smtp://kx@127.0.0.1:587"
relay_password_file = "/run/credentials/kxgw.service/relay-password"
[[peer]]
name = "old"
mail = "pgp-public-keys@pks.example.net"
accept_from = ["127.0.0.1"]
TOML

cat >"$ROOT/root/try" <<'TRY'
#!/bin/bash
exec >/root/result 2>&1
KEYS=(/usr/lib/node_modules/kx-gateway/share/keys/*)
say() { echo "$(date +%T) $*"; }
must() { # WHAT EXPECTED ACTUAL
  if [ "$2" = "$3" ]; then say "ok: $1"; else say "WRONG: $1: $3 instead of $2"; WRONG=1; fi
}
get() { systemctl show kxgw -p "$1" --value; }
mail() { # FILE [WAY...]
  local file=$1; shift
  swaks "${@:---server=127.0.0.1}" --from pgp-public-keys@pks.example.net --body - \
    --to pgp-public-keys@keys.example.org --header "Subject: INCREMENTAL" <"$file" |
    sed -n 's/^<.  *\(250 2.0.0.*\|4.*\|5.*\)/\1/p; s/^\*\*\* //p' | tail -1
}
good="250 2.0.0 Stored 1 new, 0 known."
install -D -m 0644 "${KEYS[17]}" /tmp/key
systemd-sysusers
chgrp kxgw /etc/kxgw/kxgw.toml && chmod 0640 /etc/kxgw/kxgw.toml
systemctl daemon-reload
systemctl -q enable --now kxgw-smtp.socket kxgw-lmtp.socket && systemctl -q enable --now kxgw
must "start" 0 $?
must "it says how it is" "bridge for pgp-public-keys@keys.example.org; neighbours: 1; smtp: systemd:smtp, /run/kxgw/lmtp.sock; kx: 127.0.0.1:11373" "$(get StatusText)"
must "mail on port 25" "$good" "$(mail "${KEYS[0]}")"
must "mail by LMTP" "$good" "$(mail "${KEYS[1]}" --protocol=LMTP --socket=/run/kxgw/lmtp.sock)"
must "the socket is of the mail server" "kxgw mail 660 755" "$(stat -c '%U %G %a' /run/kxgw/lmtp.sock) $(stat -c %a /run/kxgw)"
must "it is healthy for its user" "ok; log: ok; space: ok; upkeep: ok" "$(runuser -u kxgw -- kxgw health)"
pid=$(get MainPID)
must "it is not root" kxgw "$(ps -o user= -p "$pid")"
must "it has no capability" 0000000000000000 "$(sed -n 's/^CapBnd:\t//p' "/proc/$pid/status")"
systemctl reload kxgw; sleep 2
must "reload" "active running $pid" "$(get ActiveState) $(get SubState) $(get MainPID)"
cp -p /etc/kxgw/kxgw.toml /root/good
echo nonsense >>/etc/kxgw/kxgw.toml
systemctl reload kxgw; sleep 2
must "reload with a fault" "reload failed, previous config in force" "$(get StatusText | cut -d ';' -f 1)"
rm /etc/systemd/system/kxgw.service.d/credential.conf
sed -i '/relay/d' /root/good
systemctl daemon-reload
systemctl reload kxgw 2>/dev/null
must "reload with a fault is refused by the check" 1 $?
cat /root/good >/etc/kxgw/kxgw.toml
systemctl reload kxgw
must "reload with the check" 0 $?
for at in {2..13}; do mail "${KEYS[at]}"; done >/root/replies & sleep 0.3
systemctl restart kxgw
must "restart" 0 $?
wait %1
must "nobody refused meanwhile" "12 $good" "$(sort /root/replies | uniq -c | xargs)"
must "all of it is in the log" 14 "$(runuser -u kxgw -- kxgw log -c /etc/kxgw/kxgw.toml | wc -l)"
must "no word of a notify that failed" 0 "$(journalctl -u kxgw | grep -c notify-failed)"
mkdir -p /run/systemd/system/kxgw.service.d
printf '[Service]\nWatchdogSec=3\nRestartSec=1\n' >/run/systemd/system/kxgw.service.d/soon.conf
systemctl daemon-reload && systemctl restart kxgw
sleep 8
must "it beats" "active 0" "$(get ActiveState) $(get NRestarts)"
kill -STOP "$(get MainPID)"
sleep 12
must "and is started anew when it does not" "active 1" "$(get ActiveState) $(get NRestarts)"
echo nonsense >>/etc/kxgw/kxgw.toml
systemctl restart kxgw 2>/dev/null
sleep 3
must "a config at fault is not tried again" "failed 78 0" "$(get ActiveState) $(get ExecMainStatus) $(get NRestarts)"
cat /root/good >/etc/kxgw/kxgw.toml
systemctl reset-failed kxgw; systemctl stop kxgw
must "the socket starts it" "$good" "$(mail "${KEYS[14]}")"
systemctl stop kxgw
must "the LMTP socket outlives a stop" "kxgw mail 660" "$(stat -c '%U %G %a' /run/kxgw/lmtp.sock)"
must "and starts it as well" "$good" "$(mail "${KEYS[15]}" --protocol=LMTP --socket=/run/kxgw/lmtp.sock)"
must "with its owner as before" "kxgw mail 660" "$(stat -c '%U %G %a' /run/kxgw/lmtp.sock)"
systemctl -q disable --now kxgw-lmtp.socket; systemctl restart kxgw
must "without the unit it makes the socket" "kxgw kxgw 660" "$(stat -c '%U %G %a' /run/kxgw/lmtp.sock)"
must "and takes mail there" "$good" "$(mail "${KEYS[16]}" --protocol=LMTP --socket=/run/kxgw/lmtp.sock)"
usermod -aG kxgw mail
must "a member of its group may write to it" "$good" "$(runuser -u mail -- bash -c "$(declare -f mail); good='$good'; mail /tmp/key --protocol=LMTP --socket=/run/kxgw/lmtp.sock")"
must "nobody else may" "" "$(runuser -u nobody -- bash -c "$(declare -f mail); mail /tmp/key --protocol=LMTP --socket=/run/kxgw/lmtp.sock" | grep ^250)"
systemctl stop kxgw; systemctl start kxgw
must "and makes it again" "$good" "$(mail "${KEYS[18]}" --protocol=LMTP --socket=/run/kxgw/lmtp.sock)"
systemctl stop kxgw; systemctl -q enable --now kxgw-lmtp.socket; systemctl start kxgw
must "the unit takes its place again" "kxgw mail 660 $good" "$(stat -c '%U %G %a' /run/kxgw/lmtp.sock) $(mail "${KEYS[19]}" --protocol=LMTP --socket=/run/kxgw/lmtp.sock)"
say "$(systemd-analyze security kxgw.service --no-pager | tail -1)"
[ -n "${WRONG:-}" ] && journalctl -u kxgw --no-pager -o short | tail -80
[ -n "${WRONG:-}" ] || say "all is well"
TRY
chmod 0755 "$ROOT/root/try"
cat >"$ROOT/etc/systemd/system/try.service" <<'UNIT'
[Unit]
After=basic.target
[Service]
Type=oneshot
TimeoutStartSec=180
ExecStart=/root/try
ExecStopPost=/usr/bin/systemctl poweroff --no-block
UNIT
mkdir -p "$ROOT/etc/systemd/system/multi-user.target.wants"
ln -s ../try.service "$ROOT/etc/systemd/system/multi-user.target.wants/"

echo "== booting it"
timeout 240 systemd-nspawn -q -D "$ROOT" -M "kxgw-try-$$" --private-network --register=no --keep-unit -b \
  </dev/null >"$WORK/console" 2>&1 || { tail "$WORK/console"; exit 1; }
cat "$ROOT/root/result"
grep -q "all is well" "$ROOT/root/result"
