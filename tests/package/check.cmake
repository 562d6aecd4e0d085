# Installs BUILD_DIR, builds the consumer against it, and lets it find a file that the package brought.
function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(status)
    message(FATAL_ERROR "${ARGV}: ${status}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

function(expect_match wanted)
  run(${CMAKE_COMMAND} -E env XDG_DATA_DIRS=${WORK_DIR}/prefix/share XDG_DATA_HOME=${WORK_DIR}/empty
      --unset=EXPERTILE_CONFIG_DIR ${WORK_DIR}/consumer/consumer)
  if(NOT output MATCHES "${wanted}")
    message(FATAL_ERROR "expected ${wanted}, got ${output}")
  endif()
endfunction()

file(REMOVE_RECURSE ${WORK_DIR})
run(${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${WORK_DIR}/prefix)
run(${CMAKE_COMMAND} -S ${SOURCE_DIR} -B ${WORK_DIR}/consumer -G Ninja -DCMAKE_PREFIX_PATH=${WORK_DIR}/prefix
    "-DCMAKE_CXX_FLAGS=${CXX_FLAGS}")
run(${CMAKE_COMMAND} --build ${WORK_DIR}/consumer)
expect_match("built_in")
run(${WORK_DIR}/prefix/bin/expertile tune --quiet --batch-size 1 --num-experts 2 --top-k 2 --hidden-size 64
    --intermediate-size 32 --projection gate_up --device cpu --output-dir ${WORK_DIR}/prefix/share/expertile/configs)
expect_match("exact")
