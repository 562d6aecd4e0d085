# Makes the Debian package of BUILD_DIR, unpacks it into an empty root, and uses what is in there.
include(${CMAKE_CURRENT_LIST_DIR}/steps.cmake)

foreach(tool dpkg dpkg-deb dpkg-shlibdeps)
  find_program(found_${tool} ${tool})
  if(NOT found_${tool})
    message("skipped: no ${tool} here")
    return()
  endif()
endforeach()

file(REMOVE_RECURSE ${WORK_DIR})
cmake_path(GET CMAKE_COMMAND PARENT_PATH programs)
run(${programs}/cpack -G DEB --config ${BUILD_DIR}/CPackConfig.cmake -B ${WORK_DIR})
run(dpkg --print-architecture)
set(architecture ${output})
file(GLOB packages RELATIVE ${WORK_DIR} ${WORK_DIR}/*.deb)
expect_match("${packages}" "^expertile_${VERSION}_${architecture}\\.deb$")

run(dpkg-deb -f ${WORK_DIR}/${packages} Package Version Architecture Section Depends Suggests Description)
expect_match("${output}" "Package: expertile\nVersion: ${VERSION}\nArchitecture: ${architecture}\nSection: math\n")
expect_match("${output}" "Depends: [^\n]*libc6")
expect_match("${output}" "Depends: [^\n]*libgomp1")
expect_match("${output}" "Description: Grouped matrix products of Mixture-of-Experts layers")

run(dpkg-deb -x ${WORK_DIR}/${packages} ${WORK_DIR}/root)
foreach(file bin/expertile include/expertile/expertile.h include/expertile/grouped_gemm.hpp
             share/doc/expertile/copyright lib*/libexpertile.a lib*/libexpertile.so lib*/libexpertile.so.${VERSION}
             lib*/pkgconfig/expertile.pc lib*/cmake/expertile/expertile-config.cmake)
  file(GLOB_RECURSE there ${WORK_DIR}/root/usr/${file})
  if(NOT there)
    message(FATAL_ERROR "${packages} has no usr/${file}")
  endif()
endforeach()
run(${WORK_DIR}/root/usr/bin/expertile info)
expect_match("${output}" "${VERSION}")
build_by_pkg_config(${WORK_DIR}/root/usr shared ${WORK_DIR}/consumer)
run_consumer(${WORK_DIR}/root/usr ${WORK_DIR}/consumer)
expect_match("${output}" "expertile ${VERSION}: 140 180 220, ")
