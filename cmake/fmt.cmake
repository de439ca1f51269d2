# blockgrad_fmt: how sources of the library, and fuzzers, see fmt. Of fmt only headers are used, so the library
# asks its users for nothing: version 9 is compiled once, in graph/fmt.cpp; another one is header-only.
if(NOT TARGET fmt::fmt-header-only)
  find_package(fmt 9 REQUIRED)
endif()
add_library(blockgrad_fmt INTERFACE)
if(fmt_VERSION VERSION_GREATER_EQUAL 9 AND fmt_VERSION VERSION_LESS 10)
  set(BLOCKGRAD_FMT "compiled in, once")
  target_include_directories(blockgrad_fmt SYSTEM INTERFACE
    $<TARGET_PROPERTY:fmt::fmt-header-only,INTERFACE_INCLUDE_DIRECTORIES>)
  target_compile_definitions(blockgrad_fmt INTERFACE
    "FMT_BEGIN_NAMESPACE=namespace fmt { inline namespace blockgrad_v9 {" "FMT_END_NAMESPACE=}}")
else()
  set(BLOCKGRAD_FMT "compiled in, header-only")
  target_link_libraries(blockgrad_fmt INTERFACE fmt::fmt-header-only)
endif()
