#!/usr/bin/env bash
# ./dev fuzz [SECONDS | --total SECONDS]: every target of tests/fuzz for SECONDS each, or all together in --total seconds of processor
# time.
# What a target finds is left in build/fuzz/artifacts/ and makes this fail.
set -euo pipefail
cd "$ZTNA_ROOT"
# shellcheck source=tools/dev/lib.sh
. tools/dev/lib.sh
# shellcheck source=tools/dev/deps.sh
. tools/dev/deps.sh
# shellcheck source=tools/dev/build.sh
. tools/dev/build.sh

shopt -s nullglob
targets=()
for source in tests/fuzz/*_fuzz.cc; do targets+=("$(basename "$source" .cc)"); done
[ ${#targets[@]} -gt 0 ] || die "no fuzz targets in tests/fuzz"

each=${1:-60}
if [ "${1:-}" = --total ]; then
  each=$((${2:?seconds} / ${#targets[@]}))
  [ "$each" -ge 1 ] || each=1
fi

build_preset fuzz "${targets[@]}"
mkdir -p build/fuzz/artifacts
fuzz_one() {  # TARGET
  local name=$1 seed status=0
  local corpus=build/fuzz/corpus/$name log=build/fuzz/$name.log runs
  local -a existing=()
  mkdir -p "$corpus"
  for seed in tests/fuzz/corpus/"${name%_fuzz}" tests/fuzz/corpus/"$name"; do if [ -d "$seed" ]; then existing+=("$seed"); fi; done
  "build/fuzz/bin/$name" -max_total_time="$each" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/artifacts/$name-" "$corpus" "${existing[@]}" >"$log" 2>&1 || status=$?
  runs=$(awk '/stat::number_of_executed_units/ { print $2 }' "$log")
  if [ "$status" -eq 0 ]; then
    say "$name: ${runs:-?} inputs in $each s, nothing found"
  else
    say "$name: FAILED"
    tail -n 40 "$log"
  fi
  return "$status"
}

# One a processor at a time, each in a process group of its own, so that none outlives this.
set -m
trap 'for job in $(jobs -pr); do kill -- "-$job"; done' EXIT
failed=0 running=0 job=
for target in "${targets[@]}"; do
  if [ "$running" -ge "$(jobs_count)" ]; then
    wait -n || failed=$((failed + 1))
    running=$((running - 1))
  fi
  fuzz_one "$target" &
  running=$((running + 1))
done
for (( ; running > 0; --running)); do wait -n || failed=$((failed + 1)); done
say "fuzz: $((${#targets[@]} - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
