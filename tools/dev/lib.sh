# shellcheck shell=bash
# What the parts of ./dev share: messages, root, and long commands with progress. Sourced, never run.

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die() {
  warn "dev: $*"
  exit 1
}

# as_root COMMAND...: as root or through sudo; stops with a clear message where neither works.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "this needs root: run it as root or install sudo (command: $*)"
  fi
}

jobs_count() { printf '%s' "${ZTNA_JOBS:-$(nproc)}"; }

# with_progress LABEL LOG COMMAND...: output goes to LOG. A terminal shows the last line as it changes; elsewhere a
# line every 20 s says that it is alive. Returns the command's status.
with_progress() {
  local label=$1 log=$2 started=$SECONDS shown=$SECONDS pid line status
  shift 2
  "$@" >"$log" 2>&1 &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    if [ -t 1 ]; then
      line=$(tail -c 400 "$log" | tr '\r' '\n' | grep -v '^[[:space:]]*$' | tail -n 1 | cut -c1-90)
      printf '\r\033[K%s %ds  %s' "$label" $((SECONDS - started)) "$line"
    elif [ $((SECONDS - shown)) -ge 20 ]; then
      shown=$SECONDS
      line=$(tail -c 400 "$log" | tr '\r' '\n' | grep -v '^[[:space:]]*$' | tail -n 1 | cut -c1-90)
      say "  $label: $((SECONDS - started)) s, $line"
    fi
    sleep 0.5
  done
  [ -t 1 ] && printf '\r\033[K'
  status=0
  wait "$pid" || status=$?
  return "$status"
}
