# What the checks of the package share.
function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE errors
                  OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(status)
    message(FATAL_ERROR "${ARGV}: ${status}\n${output}${errors}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

function(expect_match text wanted)
  if(NOT text MATCHES "${wanted}")
    message(FATAL_ERROR "expected ${wanted}, got ${text}")
  endif()
endfunction()

# Runs a program that finds the configurations of the package in PREFIX, and no others.
function(run_consumer prefix program)
  run(${CMAKE_COMMAND} -E env XDG_DATA_DIRS=${prefix}/share XDG_DATA_HOME=${WORK_DIR}/empty
      --unset=EXPERTILE_CONFIG_DIR ${program})
  set(output "${output}" PARENT_SCOPE)
endfunction()

# Builds the consumer in C as its Makefile would: pkg-config and cc. mode: shared or static.
function(build_by_pkg_config prefix mode program)
  file(GLOB_RECURSE found ${prefix}/*/expertile.pc)
  get_filename_component(directory "${found}" DIRECTORY)
  set(ask ${CMAKE_COMMAND} -E env PKG_CONFIG_PATH=${directory} pkg-config)
  run(${ask} --cflags --libs expertile)
  if(mode STREQUAL "static")
    run(${ask} --static --cflags --libs expertile)
    string(REPLACE "-lexpertile" "-l:libexpertile.a" output "${output}")
  endif()
  separate_arguments(flags UNIX_COMMAND "${output}")
  cmake_path(GET directory PARENT_PATH libraries)
  run(cc -std=c99 -Wall -Werror ${SANITIZER_FLAGS} ${SOURCE_DIR}/c/consumer.c -o ${program} ${flags}
      -Wl,-rpath,${libraries})
endfunction()
