#!/usr/bin/env bash
# ./dev fuzz [SECONDS | --total SECONDS]: every target of tests/fuzz for SECONDS each, or all together in --total.
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
failed=0
for target in "${targets[@]}"; do
  corpus=build/fuzz/corpus/$target
  mkdir -p "$corpus"
  seeds=(tests/fuzz/corpus/"${target%_fuzz}" tests/fuzz/corpus/"$target")
  existing=()
  for folder in "${seeds[@]}"; do if [ -d "$folder" ]; then existing+=("$folder"); fi; done
  log=build/fuzz/$target.log
  status=0
  "build/fuzz/bin/$target" -max_total_time="$each" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/artifacts/$target-" "$corpus" "${existing[@]}" >"$log" 2>&1 || status=$?
  runs=$(awk '/stat::number_of_executed_units/ { print $2 }' "$log")
  if [ "$status" -eq 0 ]; then
    say "$target: ${runs:-?} inputs in $each s, nothing found"
  else
    failed=$((failed + 1))
    say "$target: FAILED"
    tail -n 40 "$log"
  fi
done
say "fuzz: $((${#targets[@]} - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
