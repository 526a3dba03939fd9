# A worker dies at every step of what it does, and nobody sees it.
foreach(p keeper_points keeper_gone)
  vringd_program(${p} SOURCES ${p}.c points.c points_frames.c points_session.c USES proto driver wire base THIRD PkgConfig::JANSSON)
endforeach()
vringd_program(keeper_syscalls SOURCES keeper_syscalls.c tracer.c points.c points_frames.c points_session.c USES proto driver wire base
  THIRD PkgConfig::JANSSON)
vringd_program(keeper_tap SOURCES keeper_tap.c USES proto driver base)
vringd_program(keeper_lease SOURCES keeper_lease.c USES proto driver base THIRD Threads::Threads)
set_target_properties(keeper_points keeper_gone keeper_syscalls keeper_tap keeper_lease PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)

set(crash $<TARGET_FILE:vringd-crash>)
foreach(pairs 1) # with 4 pairs: scripts/figures
  foreach(log "" --log)
    string(REPLACE "--" _ suffix "${log}")
    fault_test(keeper_points_${pairs}${suffix} keeper_points 300 --pairs ${pairs} ${log} ${crash})
    fault_test(keeper_points_${pairs}${suffix}_packed keeper_points 300 --pairs ${pairs} ${log} --packed --acks ${crash})
  endforeach()
endforeach()
fault_test(keeper_gone keeper_gone 120 ${crash})
fault_test(keeper_gone_packed keeper_gone 120 --packed ${crash})
# cores on, against memory that the worker has touched; 4 GiB and 10,000 kills in scripts/figures
fault_test(keeper_traffic_memory keeper_traffic 120 --kills 40 --messages --memory 1073741824 $<TARGET_FILE:vringd>)
fault_test(keeper_tap keeper_tap 120 $<TARGET_FILE:vringd>)
set_tests_properties(keeper_tap PROPERTIES SKIP_RETURN_CODE 77)
fault_test(keeper_lease keeper_lease 30 $<TARGET_FILE:vringd>)

# and before and after its system calls, as many as fit into that time
fault_test(keeper_syscalls keeper_syscalls 120 --seconds 20 ${crash})
fault_test(keeper_syscalls_packed keeper_syscalls 120 --seconds 20 --packed --seed 2 ${crash})
set_tests_properties(keeper_syscalls keeper_syscalls_packed PROPERTIES SKIP_RETURN_CODE 77)

# "done" before the commit, the stored reply ignored, nothing logged again, nobody asked who may still write
vringd_with_crash_points(crash-done VRINGD_MUTANT_ACK_BEFORE_COMMIT ${dev_sources})
vringd_with_crash_points(crash-reply VRINGD_MUTANT_NO_STORED_REPLY ${CMAKE_SOURCE_DIR}/src/dev/dev_dispatch.c)
vringd_with_crash_points(crash-relog VRINGD_MUTANT_NO_RELOG ${CMAKE_SOURCE_DIR}/src/guest/relog.c)
vringd_mutant(mutant-lease VRINGD_MUTANT_NO_LEASE ${CMAKE_SOURCE_DIR}/src/daemon/pages.c)
fault_test(keeper_points_sees_done keeper_points 120 --caught $<TARGET_FILE:vringd-crash-done>)
fault_test(keeper_syscalls_sees_done keeper_syscalls 120 --caught $<TARGET_FILE:vringd-crash-done>)
set_tests_properties(keeper_syscalls_sees_done PROPERTIES SKIP_RETURN_CODE 77)
fault_test(keeper_points_sees_reply keeper_points 120 --caught $<TARGET_FILE:vringd-crash-reply>)
fault_test(keeper_gone_sees_relog keeper_gone 120 --caught $<TARGET_FILE:vringd-crash-relog>)
fault_test(keeper_gone_sees_relog_packed keeper_gone 120 --caught --packed $<TARGET_FILE:vringd-crash-relog>)
fault_test(keeper_lease_sees_none keeper_lease 30 --caught $<TARGET_FILE:vringd-mutant-lease>)
