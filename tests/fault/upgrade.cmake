# Programs to go on with, and such as are no good: neighbours of this version in the store's schema, one that lacks a feature, and
# whatever else a candidate may do (unfit.c). A program's name says what it does.
file(GLOB store_sources ${CMAKE_SOURCE_DIR}/store/*.c)
vringd_mutant(step-adds VRINGD_MUTANT_STEP_ADDS ${store_sources})
vringd_mutant(step-parts VRINGD_MUTANT_STEP_PARTS ${store_sources})
vringd_mutant(lacks-feature VRINGD_MUTANT_LACKS_FEATURE ${CMAKE_SOURCE_DIR}/src/dev/dev_names.c)
vringd_mutant(other-table VRINGD_MUTANT_OTHER_TABLE ${CMAKE_SOURCE_DIR}/src/daemon/table.c)
foreach(how exits crashes hangs garbles foreign vanishes)
  vringd_program(unfit-${how} SOURCES unfit.c USES kp base)
  set_target_properties(unfit-${how} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/mutants)
endforeach()

set(ctl $<TARGET_FILE:vringctl>)
set(bin $<TARGET_FILE:vringd>)
set(bins ${ctl} ${bin})

fault_test(keeper_upgrade keeper_upgrade 180 --upgrades 50 ${bins} $<TARGET_FILE:vringd-crash>)
fault_test(keeper_upgrade_packed keeper_upgrade 120 --upgrades 20 --packed ${bins} $<TARGET_FILE:vringd-crash>)
fault_test(keeper_upgrade_log keeper_upgrade 120 --upgrades 20 --log --pairs 4 ${bins} $<TARGET_FILE:vringd-crash>)
fault_test(keeper_upgrade_schema keeper_upgrade 120 --upgrades 20 ${bins} $<TARGET_FILE:vringd-step-adds>)
foreach(bug drop repeat corrupt) # the oracle itself
  fault_test(keeper_upgrade_sees_${bug} keeper_upgrade 60 --caught --upgrades 4 ${bins} $<TARGET_FILE:vringd-mutant-${bug}>)
endforeach()
fault_test(keeper_upgrade_refused keeper_upgrade 120 --refused --upgrades 1 ${bins}
  "$<TARGET_FILE:unfit-exits>=without saying whether it is fit" "$<TARGET_FILE:unfit-crashes>=without saying whether it is fit"
  "$<TARGET_FILE:unfit-hangs>=in time" "$<TARGET_FILE:unfit-garbles>=does not speak our language"
  "$<TARGET_FILE:unfit-foreign>=the keeper is too old for it" "$<TARGET_FILE:vringd-lacks-feature>=mrg_rxbuf"
  "$<TARGET_FILE:vringd-other-table>=table of ports is of another version"
  "$<TARGET_FILE:vringd-step-parts>=no way back" "/etc/passwd=no program")
# and the other way: a running one that a candidate is too old for
fault_test(keeper_upgrade_too_old keeper_upgrade 120 --refused --upgrades 1 ${ctl} $<TARGET_FILE:vringd-step-parts>
  "${bin}=newer than this version reads")
fault_test(keeper_upgrade_dies keeper_upgrade 240 --crash ${ctl} $<TARGET_FILE:vringd-crash>
  leave_asked=refused leave_sent=refused leave_told=refused leave_quiet leave_closed
  cand_told=refused cand_judged=refused cand_fit adopt_told=refused adopt_leased=refused adopt_opened=refused adopt_built=refused
  adopt_run=refused)

# the keeper itself: another program in its place, and a service manager that keeps everything over a restart of the unit
fault_test(keeper_upgrade_self keeper_upgrade 120 --keeper --upgrades 30 ${bins} $<TARGET_FILE:vringd-crash>)
fault_test(keeper_upgrade_self_packed keeper_upgrade 120 --keeper --upgrades 10 --packed --log --pairs 4 ${bins} $<TARGET_FILE:vringd-crash>)
fault_test(keeper_unit keeper_unit 180 --restarts 20 ${bin} $<TARGET_FILE:vringd-crash>)
fault_test(keeper_unit_packed keeper_unit 180 --restarts 10 --packed --log --pairs 4 ${bin} $<TARGET_FILE:vringd-step-adds>)
foreach(what all image room told)
  fault_test(keeper_unit_loses_${what} keeper_unit 60 --loses ${what} ${bin})
endforeach()
fault_test(keeper_unit_watchdog keeper_unit 60 --watchdog ${bin})
fault_test(keeper_unit_sees_no_store keeper_unit 60 --caught --restarts 2 ${bin})
set_tests_properties(keeper_unit_sees_no_store PROPERTIES ENVIRONMENT FDSTORE=0)
