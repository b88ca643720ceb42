#!/usr/bin/env bash
# shellcheck disable=SC2317  # the checks are called by name
# ./dev lint [--all]: layers, format, shell scripts, then clang-tidy on the C++ files that differ from main's last
# common commit or are not committed (--all: on every file).
set -uo pipefail
cd "$ZTNA_ROOT" || exit 1
# shellcheck source=tools/dev/lib.sh
. tools/dev/lib.sh
# shellcheck source=tools/dev/deps.sh
. tools/dev/deps.sh
# shellcheck source=tools/dev/build.sh
. tools/dev/build.sh

ensure_packages build test lint
failed=0
check() {  # NAME COMMAND...
  local name=$1
  shift
  if "$@"; then say "$name: ok"; else
    say "$name: FAILED"
    failed=1
  fi
}

all_sources() { git ls-files --cached --others --exclude-standard -- 'src/*.h' 'src/*.cc' 'tests/*.h' 'tests/*.cc'; }

changed_sources() {
  local base
  base=$(git merge-base HEAD origin/main 2>/dev/null || git merge-base HEAD main 2>/dev/null || git rev-parse HEAD)
  if [ "$base" = "$(git rev-parse HEAD)" ]; then base=$(git rev-parse HEAD~1 2>/dev/null || git rev-parse HEAD); fi
  { git diff --name-only --diff-filter=d "$base" -- src tests; git ls-files --others --exclude-standard -- src tests; } | sort -u
}

format_check() {
  local tool
  tool=$(clang_format) || return 1
  case $("$tool" --version) in
    *"version 14."*) ;;
    *) say "format: clang-format 14 is not installed here; not checked" && return 0 ;;
  esac
  all_sources | tr '\n' '\0' | xargs -0 -r "$tool" --dry-run --Werror
}

shell_check() { git ls-files -z -- dev .ci/run '*.sh' | xargs -0 -r shellcheck -x; }

tidy_check() {
  local tool files which=changed_sources
  tool=$(clang_tidy) || return 1
  [ -e build/dev/compile_commands.json ] || configure_preset dev || return 1
  if [ "${1:-}" = --all ]; then which=all_sources; fi
  files=$("$which" | grep -E '\.cc$' | grep -v '^tests/fuzz/')
  [ -n "$files" ] || return 0
  say "clang-tidy: $(wc -l <<<"$files") files"
  tr '\n' '\0' <<<"$files" | xargs -0 -r -n 1 -P "$(jobs_count)" "$tool" -p build/dev --quiet
}

check "layers" /usr/bin/python3 tools/check_layers.py
check "format" format_check
check "shellcheck" shell_check
check "clang-tidy" tidy_check "${1:-}"
exit "$failed"
