# One library per folder. A library's include path shows its own folder and the folders of its USES, nothing else, so a
# wrong include does not compile. Headers are named with their folder: #include "base/fd.h".
#
#   vringd_library(NAME [SOURCES f.c...] [USES lib...] [THIRD target...])     the current folder as library NAME
#   vringd_program(NAME SOURCES f.c... [USES lib...] [THIRD target...])
#   vringd_unit(NAME SOURCES f.c... [USES lib...] [LABELS l...] [TIMEOUT s])  a cmocka test, run by ctest
#
# The include root of folder F is build/inc/NAME/NAME -> F.
function(vringd_include_root name folder)
  set(root ${CMAKE_BINARY_DIR}/inc/${name})
  file(MAKE_DIRECTORY ${root})
  file(CREATE_LINK ${folder} ${root}/${name} SYMBOLIC)
endfunction()

function(vringd_library name)
  cmake_parse_arguments(A "" "" "SOURCES;USES;THIRD" ${ARGN})
  vringd_include_root(${name} ${CMAKE_CURRENT_SOURCE_DIR})
  foreach(f ${A_SOURCES}) # PARTIAL
    if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${f}) # PARTIAL
      message(STATUS "not there yet: ${CMAKE_CURRENT_SOURCE_DIR}/${f}") # PARTIAL
      list(REMOVE_ITEM A_SOURCES ${f}) # PARTIAL
    endif() # PARTIAL
  endforeach() # PARTIAL
  if(A_SOURCES)
    add_library(vr_${name} STATIC ${A_SOURCES})
    set(scope PUBLIC)
    target_link_libraries(vr_${name} PRIVATE vringd_flags ${A_THIRD})
  else()
    add_library(vr_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(vr_${name} ${scope} ${CMAKE_BINARY_DIR}/inc/${name})
  foreach(u ${A_USES})
    target_link_libraries(vr_${name} ${scope} vr_${u})
  endforeach()
  set_property(GLOBAL APPEND PROPERTY VRINGD_LAYERS "${name}:${A_USES}")
endfunction()

function(vringd_program name)
  cmake_parse_arguments(A "" "" "SOURCES;USES;THIRD" ${ARGN})
  foreach(f ${A_SOURCES}) # PARTIAL
    if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${f} AND NOT IS_ABSOLUTE ${f}) # PARTIAL
      message(STATUS "not there yet: ${CMAKE_CURRENT_SOURCE_DIR}/${f}; no ${name}") # PARTIAL
      file(WRITE ${CMAKE_BINARY_DIR}/stub.c "int main(void) { return 77; }") # PARTIAL
      set(A_SOURCES ${CMAKE_BINARY_DIR}/stub.c) # PARTIAL
      set(A_USES base) # PARTIAL
    endif() # PARTIAL
  endforeach() # PARTIAL
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE vringd_flags ${A_THIRD})
  foreach(u ${A_USES})
    target_link_libraries(${name} PRIVATE vr_${u})
  endforeach()
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endfunction()

function(vringd_unit name)
  cmake_parse_arguments(A "" "TIMEOUT" "SOURCES;USES;THIRD;LABELS" ${ARGN})
  vringd_program(${name} SOURCES ${A_SOURCES} USES ${A_USES} THIRD PkgConfig::CMOCKA ${A_THIRD})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name})
  if(NOT A_LABELS)
    set(A_LABELS unit)
  endif()
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 60)
  endif()
  set_tests_properties(${name} PROPERTIES LABELS "${A_LABELS}" TIMEOUT ${A_TIMEOUT})
endfunction()
