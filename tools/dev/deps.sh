# shellcheck shell=bash disable=SC2016
# Installs the Debian packages of packaging/apt-packages.txt that are missing. Sourced by ./dev.

readonly BACKPORTS_FILE=/etc/apt/sources.list.d/ztna-backports.sources

# Lines of the given sections: "alternatives|>=version|@backports" as they stand in the list, without comments.
packages_of() {
  awk -v wanted=" $* " '
    /^[[:space:]]*(#|$)/ { next }
    /^\[/ { section = $0; gsub(/[][ ]/, "", section); next }
    index(wanted, " " section " ") && !seen[$0]++ { print }' "$ZTNA_ROOT/packaging/apt-packages.txt"
}

every_section() { sed -n 's/^\[\(.*\)\]$/\1/p' "$ZTNA_ROOT/packaging/apt-packages.txt"; }

version_of() { sed -n 's/.*>= *\([^ |@]*\).*/\1/p' <<<"$1"; }
name_of() { sed 's/>=.*//; s/@backports//; s/[[:space:]]//g' <<<"$1"; }

# missing_lines SECTION...: the lines of which no alternative is installed in a sufficient version. One dpkg-query.
missing_lines() {
  local -A have=()
  local package version status line part name minimum found
  while read -r package version status; do
    [ "$status" = installed ] && have[$package]=$version
  done < <(dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\n')
  while IFS= read -r line; do
    found=
    while IFS= read -r part; do
      name=$(name_of "$part")
      minimum=$(version_of "$part")
      [ -n "${have[$name]:-}" ] || continue
      if [ -z "$minimum" ] || dpkg --compare-versions "${have[$name]#*:}" ge "$minimum"; then found=1; fi
    done < <(tr '|' '\n' <<<"$line")
    [ -n "$found" ] || printf '%s\n' "$line"
  done < <(packages_of "$@")
}

# The mirror and key that this machine already uses for Debian 12, as a deb822 entry for its backports.
backports_entry() {
  local site source file stanza key=
  read -r site source < <(apt-get indextargets --format '$(SITE) $(SOURCESENTRY) $(CODENAME)' 'Created-By: Packages' |
    awk '$3 == "bookworm" { print $1, $2; exit }') || true
  [ -n "${site:-}" ] || return 1
  file=${source%:*}
  stanza=${source##*:}
  case $file in
    *.sources) key=$(awk -v RS= -v n="$stanza" 'NR == n' "$file" | sed -n 's/^Signed-By:[[:space:]]*//Ip') ;;
    *) key=$(sed -n "${stanza}p" "$file" | sed -n 's/.*[[ ]signed-by=\([^] ]*\).*/\1/Ip') ;;
  esac
  if [ -z "$key" ] && [ -e /usr/share/keyrings/debian-archive-keyring.gpg ]; then
    key=/usr/share/keyrings/debian-archive-keyring.gpg
  fi
  printf 'Types: deb\nURIs: %s\nSuites: bookworm-backports\nComponents: main\n' "$site"
  [ -z "$key" ] || printf 'Signed-By: %s\n' "$key"
}

add_backports() {
  local entry
  if apt-get indextargets --format '$(CODENAME)' 'Created-By: Packages' | grep -qx bookworm-backports; then return; fi
  entry=$(backports_entry) || die "no Debian 12 mirror in the apt sources: add one, then run this again"
  say "adding bookworm-backports from this machine's mirror: $BACKPORTS_FILE"
  as_root tee "$BACKPORTS_FILE" <<<"$entry" >/dev/null
}

# The first alternative of a line that apt knows; "name/bookworm-backports" where backports has to deliver it.
choose_package() {
  local line=$1 codename=$2 part name minimum candidate
  while IFS= read -r part; do
    name=$(name_of "$part")
    minimum=$(version_of "$part")
    if [[ $line == *@backports* && $codename == bookworm ]]; then
      printf '%s/bookworm-backports\n' "$name"
      return
    fi
    candidate=$(LC_ALL=C apt-cache policy "$name" | awk '/Candidate:/ { print $2 }')
    if [ -z "$candidate" ] || [ "$candidate" = "(none)" ]; then continue; fi
    if [ -z "$minimum" ] || dpkg --compare-versions "${candidate#*:}" ge "$minimum"; then
      printf '%s\n' "$name"
      return
    fi
  done < <(tr '|' '\n' <<<"$line")
  return 1
}

apt_get() { as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -q -o DPkg::Lock::Timeout=300 "$@"; }

# ensure_packages SECTION...: nothing happens when all is there.
ensure_packages() {
  local missing codename line package nginx_before
  local -a install=()
  if [ -n "${ZTNA_SKIP_DEPS:-}" ]; then return; fi
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    die "this script installs packages with apt (Debian 12 or 13). Elsewhere install what packaging/apt-packages.txt" \
      "names and set ZTNA_SKIP_DEPS=1"
  fi
  missing=$(missing_lines "$@")
  [ -n "$missing" ] || return 0
  # shellcheck source=/dev/null
  codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
  say "missing packages:" "$(while read -r line; do name_of "${line%%|*}"; done <<<"$missing" | tr '\n' ' ')"
  if [[ $codename == bookworm && $missing == *@backports* ]]; then add_backports; fi
  apt_get update || die "apt-get update failed; is the network there, and are you root or in sudoers?"
  while IFS= read -r line; do
    package=$(choose_package "$line" "$codename") || die "this system's apt offers none of: $line"
    install+=("$package")
  done <<<"$missing"
  nginx_before=$(command -v /usr/sbin/nginx || true)
  apt_get install -y --no-install-recommends "${install[@]}" || die "apt-get install failed: ${install[*]}"
  # The tests run nginx themselves, in a namespace; a web server on the machine's own port 80 is not wanted.
  if [ -z "$nginx_before" ] && [ -x /usr/sbin/nginx ] && [ -d /run/systemd/system ]; then
    as_root systemctl disable --quiet --now nginx || warn "could not disable nginx.service, which came with nginx-light"
  fi
  missing=$(missing_lines "$@")
  [ -z "$missing" ] || die "still missing after apt-get install: $missing"
}
