# Every public header compiles alone. Run with -DROOT=<project> -DCXX=<compiler>.
file(GLOB_RECURSE headers RELATIVE "${ROOT}/include" "${ROOT}/include/*.h")
set(failed 0)
foreach(header IN LISTS headers)
  execute_process(
    COMMAND "${CXX}" -std=c++20 -fsyntax-only -x c++ -Wall -Wextra -Wpedantic -Werror
      "-I${ROOT}/include" -include "${ROOT}/include/${header}" /dev/null
    RESULT_VARIABLE result ERROR_VARIABLE message)
  if(NOT result EQUAL 0)
    message("${header} does not compile alone:\n${message}")
    math(EXPR failed "${failed} + 1")
  endif()
endforeach()
list(LENGTH headers count)
if(failed OR count EQUAL 0)
  message(FATAL_ERROR "${failed} of ${count} public headers do not compile alone")
endif()
message("${count} public headers compile alone")
