# The library of the checkout in EXPERTILE_OLD_SOURCE, in a namespace of its own, and the program that times both.
set(old ${EXPERTILE_OLD_SOURCE})
file(GLOB_RECURSE old_sources ${old}/src/*.cpp)
list(FILTER old_sources EXCLUDE REGEX "${old}/src/cli/")
file(GLOB_RECURSE old_text ${old}/kernels/*.hpp)
set(old_embedded ${CMAKE_CURRENT_BINARY_DIR}/old_device_text.cpp)
add_custom_command(OUTPUT ${old_embedded}
  COMMAND ${CMAKE_COMMAND} -DSOURCE_DIR=${old} -DOUTPUT=${old_embedded} -P ${old}/cmake/embed_device_text.cmake
  DEPENDS ${old_text})
add_library(expertile_old STATIC EXCLUDE_FROM_ALL ${old_sources} ${old_embedded})
target_compile_features(expertile_old PUBLIC cxx_std_20)
target_include_directories(expertile_old PRIVATE ${old}/include ${old}/src ${old}/kernels)
target_compile_definitions(expertile_old PRIVATE expertile=expertile_old EXPERTILE_VERSION="old"
                                                 EXPERTILE_INSTALLED_DATA="/usr/local/share")
target_link_libraries(expertile_old PRIVATE tl::expected fmt::fmt spdlog::spdlog nlohmann_json::nlohmann_json
                                            CURL::libcurl OpenMP::OpenMP_CXX ${CMAKE_DL_LIBS})
foreach(isa avx2 avx512 avx512_bf16)
  get_source_file_property(flags ${PROJECT_SOURCE_DIR}/src/backend/cpu/kernels_${isa}.cpp
                           DIRECTORY ${PROJECT_SOURCE_DIR} COMPILE_OPTIONS)
  set_source_files_properties(${old}/src/backend/cpu/kernels_${isa}.cpp PROPERTIES COMPILE_OPTIONS "${flags}")
endforeach()

function(add_side name function definitions)
  add_library(${name} OBJECT EXCLUDE_FROM_ALL ${CMAKE_CURRENT_SOURCE_DIR}/revisions/side.cpp)
  target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR} ${ARGN})
  target_compile_definitions(${name} PRIVATE MAKE_SIDE=${function} ${definitions})
  target_link_libraries(${name} PRIVATE tl::expected)
endfunction()
add_side(revisions_old_side make_old "expertile=expertile_old" ${old}/include)
add_side(revisions_new_side make_new "" ${PROJECT_SOURCE_DIR}/include)

add_executable(bench_revisions EXCLUDE_FROM_ALL revisions/main.cpp)
target_include_directories(bench_revisions PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(bench_revisions PRIVATE expertile_flags CLI11::CLI11 fmt::fmt CUDA::cudart_static
                                              revisions_old_side revisions_new_side expertile expertile_old)
