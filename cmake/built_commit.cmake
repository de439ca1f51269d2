# Writes the commit that is built to the header TO, and leaves it alone if it is the same: cmake -D SOURCE=.. -D TO=.. -P
cmake_minimum_required(VERSION 3.25)
execute_process(COMMAND git -C "${SOURCE}" describe --always
  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
# The page about what was measured is no part of what is measured.
execute_process(COMMAND git -C "${SOURCE}" diff --quiet HEAD -- . ":(exclude)docs"
  RESULT_VARIABLE changes OUTPUT_QUIET ERROR_QUIET)
if(commit AND changes EQUAL 1)
  string(APPEND commit "-dirty")
endif()
file(CONFIGURE OUTPUT "${TO}" @ONLY CONTENT "#pragma once
namespace bench {
inline constexpr const char* built_commit = \"@commit@\";
}
")
