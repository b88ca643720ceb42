#!/usr/bin/env bash
# shellcheck disable=SC2317  # the stages are called by name
# ./dev test [--full]: every stage runs even when an earlier one failed, unless it needs what failed. Logs and JUnit
# files are in build/test/. The last line counts the tests of all stages together.
set -uo pipefail
cd "$ZTNA_ROOT" || exit 1
# shellcheck source=tools/dev/lib.sh
. tools/dev/lib.sh
# shellcheck source=tools/dev/deps.sh
. tools/dev/deps.sh
# shellcheck source=tools/dev/build.sh
. tools/dev/build.sh

full=
case "${1:-}" in
  --full) full=1 ;;
  "") ;;
  *) die "usage: ./dev test [--full]" ;;
esac

readonly OUT=build/test
rm -rf "$OUT" 2>/dev/null || as_root rm -rf "$OUT"
mkdir -p "$OUT"
rows=()
total_passed=0 total_failed=0 broken=0
declare -A ok=()

# stage NAME NEEDS JUNIT COMMAND...: NEEDS is a stage that must have passed (or -), JUNIT its result file (or -).
stage() {
  local name=$1 needs=$2 junit=$3 started=$SECONDS status=0
  shift 3
  local log
  log=$(log_of "$name")
  if [ "$needs" != - ] && [ -z "${ok[$needs]:-}" ]; then
    rows+=("$(printf '%-22s %-8s %5s  %s' "$name" skipped - "needs: $needs")")
    broken=$((broken + 1))
    return
  fi
  say "== $name"
  with_progress "$name" "$log" "$@" || status=$?
  report "$name" "$junit" "$status" $((SECONDS - started))
}

log_of() { printf '%s' "$OUT/${1//[^a-z0-9]/-}.log"; }

# report NAME JUNIT STATUS SECONDS: counts a stage that has ended, and shows the end of its log if it failed.
report() {
  local name=$1 junit=$2 status=$3 seconds=$4 verdict counts="" passed=0 failed=0 skipped=0 log
  log=$(log_of "$name")
  if [ "$junit" != - ] && [ -s "$junit" ]; then
    read -r passed failed skipped < <(/usr/bin/python3 tools/dev/junit.py "$junit")
    total_passed=$((total_passed + passed))
    total_failed=$((total_failed + failed))
    counts="$passed passed, $failed failed, $skipped skipped"
  fi
  if [ "$status" -eq 0 ] && [ "$failed" -eq 0 ]; then
    verdict=ok
    ok[$name]=1
  else
    verdict=FAILED
    broken=$((broken + 1))
    say "-- $name failed (status $status); the end of $log:"
    tail -n "${ZTNA_LOG_LINES:-120}" "$log"
  fi
  rows+=("$(printf '%-22s %-8s %4ds  %s' "$name" "$verdict" "$seconds" "$counts")")
}

# One stage that mostly waits may run beside others, which are nicer than it: begin_beside NAME JUNIT COMMAND..., end_beside.
beside=() beside_pid=
begin_beside() {
  beside=("$1" "$2" "$SECONDS")
  shift 2
  say "== ${beside[0]}, beside the next"
  as_root true  # a password is asked for here, not in the background
  set -m
  "$@" >"$(log_of "${beside[0]}")" 2>&1 &
  beside_pid=$!
  set +m
}
end_beside() {
  local status=0
  say "== ${beside[0]}: waiting for it"
  wait "$beside_pid" || status=$?
  beside_pid=
  report "${beside[0]}" "${beside[1]}" "$status" $((SECONDS - beside[2]))
}
nicely() { nice -n 19 bash -c '. tools/dev/lib.sh; . tools/dev/deps.sh; . tools/dev/build.sh; "$@"' _ "$@"; }

unit_tests() {  # PRESET [NICENESS]
  nice -n "${2:-0}" ctest --test-dir "build/$1" --output-on-failure --no-tests=error --parallel "$(jobs_count)" --timeout 600 \
    --output-junit "$ZTNA_ROOT/$OUT/$1.xml"
}

script_tests() {
  /usr/bin/python3 -m pytest -p no:cacheprovider tests/unit --junitxml="$OUT/scripts.xml"
}

e2e_tests() {  # JUNIT ARGUMENT...
  local junit=$1 status=0
  shift
  as_root env PYTHONDONTWRITEBYTECODE=1 ZTNA_BIN="$ZTNA_ROOT/build/release/bin" \
    "ZTNA_E2E_OFFLOADS=${ZTNA_E2E_OFFLOADS:-}" "ZTNA_E2E_SMALL_BUFFERS=${ZTNA_E2E_SMALL_BUFFERS:-}" \
    /usr/bin/python3 -m pytest -p no:cacheprovider tests/e2e --junitxml="$OUT/$junit" "$@" || status=$?
  return "$status"
}

# The tests mostly wait, so four files run at a time, each in networks of its own. Those marked `alone` measure time or fill the
# machine; they come after the others, one by one.
readonly TOGETHER=(-n 4 --dist loadfile)
readonly SHORT="not soak and not full and not valgrind"

e2e_without_offloads() { ZTNA_E2E_OFFLOADS=off ZTNA_E2E_SMALL_BUFFERS=1 e2e_tests "$@"; }

valgrind_tests() {
  ensure_packages full
  as_root env ZTNA_BIN="$ZTNA_ROOT/build/dev/bin" ZTNA_E2E_VALGRIND=1 PYTHONDONTWRITEBYTECODE=1 \
    /usr/bin/python3 -m pytest -p no:cacheprovider tests/e2e -m valgrind --junitxml="$OUT/valgrind.xml"
}

# The next build may have what the waiting end-to-end tests leave of the processors. It is stopped before anything is measured; its
# own stage goes on from there.
head_start=
begin_head_start() {
  set -m
  nicely build_preset "$@" >"$OUT/head-start.log" 2>&1 &
  head_start=$!
  set +m
}
end_head_start() {
  [ -n "$head_start" ] || return 0
  # Only while it is ours: when it has ended, its number may be another's. Its compilers must be gone before anything is measured.
  if jobs -pr | grep -qx "$head_start"; then
    kill -- "-$head_start" 2>/dev/null
    wait "$head_start" 2>/dev/null
    while kill -0 -- "-$head_start" 2>/dev/null; do sleep 0.1; done
  fi
  head_start=
}
leave() {
  end_head_start
  if [ -n "$beside_pid" ] && jobs -pr | grep -qx "$beside_pid"; then as_root kill -- "-$beside_pid"; fi
}
trap leave EXIT

stage "packages" - - ensure_packages build test demo e2e fuzz
stage "layers" - - /usr/bin/python3 tools/check_layers.py
stage "scripts, schemas" packages "$OUT/scripts.xml" script_tests
stage "build release" packages - build_preset release "${PROGRAMS[@]}" ztna-stranger
if [ -n "${ok["build release"]:-}" ]; then begin_head_start asan-ubsan test_programs; fi
stage "end-to-end" "build release" "$OUT/e2e.xml" e2e_tests e2e.xml -m "$SHORT and not alone" "${TOGETHER[@]}"
end_head_start
stage "end-to-end, alone" "build release" "$OUT/e2e-alone.xml" e2e_tests e2e-alone.xml -m "$SHORT and alone"
stage "build asan-ubsan" packages - build_preset asan-ubsan test_programs
stage "unit asan-ubsan" "build asan-ubsan" "$OUT/asan-ubsan.xml" unit_tests asan-ubsan
stage "fuzz" packages - bash tools/dev/fuzz.sh --total "$([ -n "$full" ] && echo 900 || echo 60)"
if [ -n "$full" ]; then
  stage "build release tests" packages - build_preset release test_programs
  stage "unit release" "build release tests" "$OUT/release.xml" unit_tests release
  begin_head_start tsan test_programs
  stage "plain end-to-end" "build release" "$OUT/e2e-plain.xml" e2e_without_offloads e2e-plain.xml \
    -m "$SHORT and not alone" "${TOGETHER[@]}"
  end_head_start
  stage "plain, alone" "build release" "$OUT/e2e-plain-alone.xml" e2e_without_offloads e2e-plain-alone.xml -m "$SHORT and alone"
  if [ -n "${ok["build release"]:-}" ]; then
    begin_beside "soak" "$OUT/soak.xml" e2e_tests soak.xml -m soak -n 8 --dist load
  else
    stage "soak" "build release" - false
  fi
  stage "build tsan" packages - nicely build_preset tsan test_programs
  stage "unit tsan" "build tsan" "$OUT/tsan.xml" unit_tests tsan 19
  stage "build dev" packages - nicely build_preset dev "${PROGRAMS[@]}"
  if [ -n "$beside_pid" ]; then end_beside; fi
  stage "e2e long forms" "build release" "$OUT/e2e-full.xml" e2e_tests e2e-full.xml -m full
  stage "valgrind" "build dev" "$OUT/valgrind.xml" valgrind_tests
fi

say ""
printf '%-22s %-8s %5s  %s\n' stage result time tests
printf '%s\n' "${rows[@]}"
say "whole run: $((SECONDS / 60)) min $((SECONDS % 60)) s; logs in $OUT/"
# A stage that broke without naming a test still counts as a failure.
if [ "$broken" -gt 0 ] && [ "$total_failed" -eq 0 ]; then total_failed=$broken; fi
say "$total_passed passed, $total_failed failed"
[ "$broken" -eq 0 ] && [ "$total_failed" -eq 0 ]
