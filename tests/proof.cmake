# What proves the gradients beyond the tests themselves: the table of ops in docs/, and mutants.
get_target_property(op_sources test_ops SOURCES)
set(op_suites "")
foreach(source IN LISTS op_sources)
  if(source MATCHES "ops/([a-z_0-9]+)_cases\\.cpp$")
    list(APPEND op_suites ${CMAKE_MATCH_1})
  endif()
endforeach()
set(rows "${CMAKE_CURRENT_BINARY_DIR}/rows")
foreach(suite IN LISTS op_suites)
  set_tests_properties(ops/${suite} PROPERTIES
    ENVIRONMENT "BLOCKGRAD_ROWS=${rows}" FIXTURES_SETUP op_rows)
endforeach()
list(JOIN op_suites "," op_suites)

add_executable(docs_ops docs/main.cpp docs/ops_table.cpp docs/public_functions.cpp)
bg_target(docs_ops)
target_include_directories(docs_ops PRIVATE "${PROJECT_SOURCE_DIR}")
add_test(NAME docs/every_op_has_rows
  COMMAND docs_ops "${PROJECT_SOURCE_DIR}" "${rows}" "${op_suites}" rows)
set_tests_properties(docs/every_op_has_rows PROPERTIES FIXTURES_REQUIRED op_rows)
# ./run docs
add_custom_target(docs
  COMMAND ${CMAKE_COMMAND} -E env "BLOCKGRAD_ROWS=${rows}"
    $<TARGET_FILE:test_ops> --report_level=no --color_output=no
  COMMAND docs_ops "${PROJECT_SOURCE_DIR}" "${rows}" "${op_suites}" write
  VERBATIM)

# ./run mutants breaks gradient rules and links the tests of the ops again, so the library is static.
if(NOT BLOCKGRAD_SANITIZE AND NOT BUILD_SHARED_LIBS)
  set_target_properties(blockgrad PROPERTIES EXPORT_COMPILE_COMMANDS ON)
  add_executable(mutants mutants/edits.cpp mutants/main.cpp mutants/trial.cpp)
  bg_target(mutants)
  target_include_directories(mutants PRIVATE "${PROJECT_SOURCE_DIR}")
  target_link_libraries(mutants PRIVATE nlohmann_json::nlohmann_json Threads::Threads)
  add_test(NAME mutants/ten_are_caught
    COMMAND mutants "${PROJECT_SOURCE_DIR}" "${PROJECT_BINARY_DIR}" --count 10 --seed 1 --least 90)
  set_tests_properties(mutants/ten_are_caught PROPERTIES TIMEOUT 900 COST 500)
endif()
