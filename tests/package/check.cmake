# Installs BUILD_DIR, builds consumers against it, and lets them find a file that the package brought.
include(${CMAKE_CURRENT_LIST_DIR}/steps.cmake)

set(product "expertile [0-9.]+: 140 180 220, ")
set(prefix ${WORK_DIR}/prefix)
file(REMOVE_RECURSE ${WORK_DIR})
run(${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${prefix})
foreach(language c cpp)
  run(${CMAKE_COMMAND} -S ${SOURCE_DIR}/${language} -B ${WORK_DIR}/${language} -G Ninja
      -DCMAKE_PREFIX_PATH=${prefix} "-DCMAKE_C_FLAGS=${SANITIZER_FLAGS}" "-DCMAKE_CXX_FLAGS=${SANITIZER_FLAGS}")
  run(${CMAKE_COMMAND} --build ${WORK_DIR}/${language})
endforeach()
foreach(mode shared static)
  build_by_pkg_config(${prefix} ${mode} ${WORK_DIR}/by_pkg_config_${mode})
  run_consumer(${prefix} ${WORK_DIR}/by_pkg_config_${mode})
  expect_match("${output}" "${product}built_in")
endforeach()
run_consumer(${prefix} ${WORK_DIR}/c/consumer)
expect_match("${output}" "${product}built_in")
run_consumer(${prefix} ${WORK_DIR}/cpp/consumer)
expect_match("${output}" "140 180 220, built_in")

run(${prefix}/bin/expertile tune --quiet --batch-size 1 --num-experts 2 --top-k 2 --hidden-size 4
    --intermediate-size 3 --projection up --gated no --dtype float32 --device cpu --threads 1
    --output-dir ${prefix}/share/expertile/configs)
run_consumer(${prefix} ${WORK_DIR}/c/consumer)
expect_match("${output}" "${product}exact")
run_consumer(${prefix} ${WORK_DIR}/cpp/consumer)
expect_match("${output}" "140 180 220, exact")
