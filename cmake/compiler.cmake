add_library(ztna_options INTERFACE)
target_compile_options(ztna_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor -Woverloaded-virtual
  -Wno-missing-field-initializers)  # designated initializers leave members to their defaults on purpose
if(NOT ZTNA_SANITIZE)  # instrumentation makes GCC see overruns that are not there; the other presets hold the rule
  target_compile_options(ztna_options INTERFACE -Werror)
endif()
# GCC collects garbage from 128 MB on: a tenth of the time, for memory that is there.
add_compile_options($<$<CXX_COMPILER_ID:GNU>:--param=ggc-min-heapsize=600000>)
target_include_directories(ztna_options INTERFACE ${PROJECT_SOURCE_DIR}/src)
target_compile_definitions(ztna_options INTERFACE ZTNA_VERSION="${PROJECT_VERSION}")
if(ZTNA_SANITIZE)
  add_compile_options(-fsanitize=${ZTNA_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  # UBSan's vptr check looks at an object through a pipe. Where a test has used up the descriptors there is none, and it takes what it
  # cannot see (fmt's buffers) for invalid.
  add_compile_options(-fno-sanitize=vptr)
  # A third of GCC's time goes into checking each reference for null and alignment (connector.cc of config: 13.7 s, 8.6 s without).
  # ASan stops at a null one anyway. src/wire, which reads what peers send, and the fuzz build, which is clang's, keep both.
  add_compile_options($<$<CXX_COMPILER_ID:GNU>:-fno-sanitize=null,alignment>)
  add_link_options(-fsanitize=${ZTNA_SANITIZE})
endif()
find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()
