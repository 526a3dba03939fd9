# Compile and link flags that every target of vringd gets.
add_library(vringd_flags INTERFACE)
target_compile_definitions(vringd_flags INTERFACE _GNU_SOURCE VRINGD_VERSION="${PROJECT_VERSION}")
target_compile_options(vringd_flags INTERFACE
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition
  -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Wvla -Wformat=2
  -fno-common -fno-strict-aliasing)
if(VRINGD_WERROR)
  target_compile_options(vringd_flags INTERFACE -Werror)
endif()
if(VRINGD_SANITIZE)
  target_compile_options(vringd_flags INTERFACE -fsanitize=${VRINGD_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(vringd_flags INTERFACE -fsanitize=${VRINGD_SANITIZE})
  if(VRINGD_SANITIZE MATCHES thread AND CMAKE_C_COMPILER_ID STREQUAL GNU)
    # fences order our accesses to memory that is shared with other processes, which the sanitizer does not see; between our
    # own threads nothing relies on a fence
    target_compile_options(vringd_flags INTERFACE -Wno-tsan)
  endif()
endif()
