# shellcheck shell=bash disable=SC2034
# Building with the presets of CMakePresets.json, and finding clang's tools. Sourced by ./dev and its parts.

readonly PROGRAMS=(ztna-agent intermediate-server app-connector ztnactl)

# first_command NAME...: the first that exists.
first_command() {
  local name
  for name in "$@"; do
    if command -v "$name"; then return; fi
  done
  die "none of these is installed: $* (run ./dev deps)"
}

# Version 14 formats and names as the project expects; a newer one is used only where 14 is not to be had.
clang_format() { first_command clang-format-14 clang-format; }
clang_tidy() { first_command clang-tidy-14 clang-tidy; }

configure_preset() {
  local preset=$1
  local -a more=()
  if [ "$preset" = fuzz ]; then
    more=("-DCMAKE_C_COMPILER=$(first_command clang-14 clang)" "-DCMAKE_CXX_COMPILER=$(first_command clang++-14 clang++)")
  fi
  cmake --preset "$preset" "${more[@]}" >/dev/null
}

# build_preset PRESET [TARGET...]: installs what is missing, configures once, builds.
build_preset() {
  local preset=$1
  local -a target=()
  shift
  if [ "$preset" = fuzz ]; then
    ensure_packages build fuzz
  else
    ensure_packages build test
  fi
  if [ ! -e "build/$preset/build.ninja" ]; then
    say "configuring build/$preset"
    configure_preset "$preset"
  fi
  [ $# -eq 0 ] || target=(--target "$@")
  # Precompiled headers need the first; with the second a miss costs no run of the preprocessor; the rest lets clones share.
  export CCACHE_SLOPPINESS=pch_defines,time_macros CCACHE_DEPEND=1 CCACHE_BASEDIR=$ZTNA_ROOT CCACHE_NOHASHDIR=1
  cmake --build "build/$preset" --parallel "$(jobs_count)" "${target[@]}"
}
