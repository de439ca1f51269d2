# Objects built for an instruction set define no weak symbol. Run with -DNM=<nm> -DOBJECTS=<list>.
if(NOT OBJECTS)
  message(FATAL_ERROR "no object to look at")
endif()
foreach(object IN LISTS OBJECTS)
  execute_process(COMMAND "${NM}" --defined-only --demangle "${object}"
    RESULT_VARIABLE result OUTPUT_VARIABLE symbols)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${NM} cannot read ${object}")
  endif()
  string(REGEX MATCHALL "[0-9a-f]+ [WVu] [^\n]*" weak "${symbols}")
  # The compiler's reference to its exception handler; it is the same for every instruction set.
  list(FILTER weak EXCLUDE REGEX "DW\\.ref\\.")
  if(weak)
    list(JOIN weak "\n  " text)
    message(SEND_ERROR "${object} defines weak symbols:\n  ${text}")
  endif()
endforeach()
