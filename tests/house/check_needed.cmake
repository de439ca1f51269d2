# Programs start where there is no CUDA: none of its libraries is among those they need.
# Run with -DREADELF=<readelf> -DFILES=<list of programs and libraries>.
foreach(file IN LISTS FILES)
  execute_process(COMMAND "${READELF}" --dynamic --wide "${file}" RESULT_VARIABLE result OUTPUT_VARIABLE text)
  if(NOT result EQUAL 0 OR NOT text MATCHES "NEEDED[^\n]*libc\\.so")
    message(FATAL_ERROR "${READELF} cannot tell what ${file} needs")
  endif()
  string(REGEX MATCHALL "NEEDED[^\n]*(cuda|cublas|cudnn|nvrtc|nccl|nvJitLink|nvidia)[^\n]*" needed "${text}")
  if(needed)
    message(SEND_ERROR "${file}: ${needed}")
  endif()
endforeach()
