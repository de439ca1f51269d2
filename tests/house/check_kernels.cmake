# Programs hold the kernels that nvcc made: their names, which the runtime is given at the start, and code beside them.
# Run with -DREADELF=<readelf> -DFILES=<list of programs and libraries> -DKERNELS=<list of names>.
foreach(file IN LISTS FILES)
  file(STRINGS "${file}" names REGEX "_Z.*Kernel")
  foreach(kernel IN LISTS KERNELS)
    if(NOT names MATCHES "${kernel}")
      message(SEND_ERROR "${file}: no kernel is named ${kernel}")
    endif()
  endforeach()
  execute_process(COMMAND "${READELF}" --sections --wide "${file}" RESULT_VARIABLE result OUTPUT_VARIABLE text)
  if(NOT result EQUAL 0 OR NOT text MATCHES "\\.nv_fatbin")
    message(SEND_ERROR "${file}: no machine code for a GPU")
  endif()
endforeach()
