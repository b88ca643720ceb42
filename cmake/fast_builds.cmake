# What makes a build from nothing fast. The preset `dev` does without: what it builds shows that every file includes what it uses.
#
# Most of a compiler's time here goes into reading the standard library and fmt. With ZTNA_PCH that is done once for src/ and once for
# tests/. With ZTNA_UNITY it sees six files of a library at once (tunnel and connector, release: 34 s of CPU
# in place of 56).
option(ZTNA_PCH "Precompile the headers that nearly every file includes" ON)
option(ZTNA_UNITY "Compile several files of a library together" ON)

set(ZTNA_PCH_HEADERS
    <algorithm> <array> <atomic> <chrono> <compare> <cstddef> <cstdint> <cstring> <deque> <functional> <map> <memory> <optional> <set>
    <span> <string> <string_view> <unordered_map> <utility> <variant> <vector> <fmt/format.h> <tl/expected.hpp>)

# ztna_precompile(OWNER [HEADER...]): OWNER precompiles the list and these. ztna_use_precompiled(TARGET OWNER): TARGET takes what OWNER
# made; the two need the same compile options.
function(ztna_precompile OWNER)
  if(ZTNA_PCH)
    target_precompile_headers(${OWNER} PRIVATE ${ZTNA_PCH_HEADERS} ${ARGN})
  endif()
endfunction()
function(ztna_use_precompiled TARGET OWNER)
  if(ZTNA_PCH)
    target_precompile_headers(${TARGET} REUSE_FROM ${OWNER})
  endif()
endfunction()
