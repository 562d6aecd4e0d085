# What is installed, and the Debian package of it. find_package(expertile) then gives expertile::expertile (C++, static)
# and expertile::c (C, shared); pkg-config knows expertile.
include(CMakePackageConfigHelpers)
target_include_directories(expertile INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_include_directories(expertile_shared INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
install(TARGETS expertile EXPORT expertile)
install(TARGETS expertile_shared EXPORT expertile_c)
install(TARGETS expertile_cli)
install(DIRECTORY configs/ DESTINATION ${CMAKE_INSTALL_DATADIR}/expertile/configs)
install(DIRECTORY include/expertile DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/expertile)
install(EXPORT expertile NAMESPACE expertile:: FILE expertile-targets.cmake DESTINATION ${package_dir})
install(EXPORT expertile_c NAMESPACE expertile:: FILE expertile-c-targets.cmake DESTINATION ${package_dir})
configure_package_config_file(cmake/expertile-config.cmake.in expertile-config.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(expertile-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/expertile-config.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/expertile-config-version.cmake DESTINATION ${package_dir})

# A prefix that is moved takes its expertile.pc along: paths are said from where that file lies.
set(pkgconfig_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH pc_prefix /${pkgconfig_dir} /)
string(REGEX REPLACE "/$" "" pc_prefix "${pc_prefix}")
configure_file(cmake/expertile.pc.in expertile.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/expertile.pc DESTINATION ${pkgconfig_dir})

# `cpack -G DEB` in the build directory: one package with all of it. What the binaries need is read off them; what only
# C++ programs that link the static library need is suggested.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME expertile)
set(CPACK_PACKAGE_VENDOR expertile)
set(CPACK_PACKAGE_CONTACT "expertile <expertile@localhost>")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "Multiplies ragged groups of rows by the weights of their experts, on NVIDIA GPUs and CPUs, in six
dtypes, with tiles that the command-line tool finds for the machine.
This package has the tool, a shared library for C, a static one for C++, their headers, and what CMake
and pkg-config need to find them.")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION math)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS
    "g++, libexpected-dev, libfmt-dev, libspdlog-dev, nlohmann-json3-dev, libcurl4-openssl-dev, libpcre2-dev, pkg-config")
include(CPack)
