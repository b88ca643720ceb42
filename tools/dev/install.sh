#!/usr/bin/env bash
# ./dev install: release binaries, systemd units and example configs. PREFIX (default /usr/local) holds the programs; DESTDIR
# is put before every path, for packages. Files in /etc/ztna that exist are left alone.
set -euo pipefail
cd "$ZTNA_ROOT"
# shellcheck source=tools/dev/lib.sh
. tools/dev/lib.sh
# shellcheck source=tools/dev/deps.sh
. tools/dev/deps.sh
# shellcheck source=tools/dev/build.sh
. tools/dev/build.sh

readonly PREFIX=${PREFIX:-/usr/local} DESTDIR=${DESTDIR:-}
build_preset release "${PROGRAMS[@]}"

# place COMMAND...: into DESTDIR as the caller, into the system as root.
place() { if [ -n "$DESTDIR" ]; then "$@"; else as_root "$@"; fi; }

for program in "${PROGRAMS[@]}"; do
  place install -D -m 0755 -s "build/release/bin/$program" "$DESTDIR$PREFIX/bin/$program"
done

unit_dir=$DESTDIR/usr/local/lib/systemd/system
[ "$PREFIX" != /usr ] || unit_dir=$DESTDIR/usr/lib/systemd/system
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for unit in packaging/systemd/*.service; do
  name=$(basename "$unit")
  sed "s|@bindir@|$PREFIX/bin|" "$unit" >"$scratch/$name"
  place install -D -m 0644 "$scratch/$name" "$unit_dir/$name"
done
place install -D -m 0644 packaging/systemd/ztna.sysusers.conf "$DESTDIR/usr/lib/sysusers.d/ztna.conf"

place install -d -m 0755 "$DESTDIR/etc/ztna" "$DESTDIR/etc/ztna/certs"
for example in packaging/examples/*.json; do
  name=$(basename "$example")
  place install -D -m 0644 "$example" "$DESTDIR$PREFIX/share/doc/ztna/examples/$name"
  case $name in
    *.minimal.json)
      config=$DESTDIR/etc/ztna/${name/.minimal/}
      if [ ! -e "$config" ]; then place install -m 0644 "$example" "$config"; fi
      ;;
  esac
done
for schema in packaging/schema/*.schema.json; do
  place install -D -m 0644 "$schema" "$DESTDIR$PREFIX/share/ztna/schema/$(basename "$schema")"
done
for page in README.md LICENSE; do place install -D -m 0644 "$page" "$DESTDIR$PREFIX/share/doc/ztna/$page"; done

if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then
  as_root systemd-sysusers
  as_root systemctl daemon-reload
fi
say "installed below ${DESTDIR:-/}: programs in $PREFIX/bin, units, /etc/ztna"
say "next: put ca.pem, cert.pem and key.pem into /etc/ztna/certs (ztnactl issue), edit /etc/ztna/*.json, then"
say "  systemctl enable --now ztna-agent (or app-connector, or intermediate-server)"
