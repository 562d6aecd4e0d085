# Writes OUTPUT: device_texts() with the text of every file of kernels/ and the party wall.
set(entries "")
file(GLOB_RECURSE files RELATIVE ${SOURCE_DIR}/kernels ${SOURCE_DIR}/kernels/*.hpp)
list(SORT files)
foreach(file ${files})
  file(READ ${SOURCE_DIR}/kernels/${file} text)
  string(APPEND entries "      {\"${file}\", R\"device(${text})device\"},\n")
endforeach()
foreach(file expertile/activation.hpp expertile/tile_config.hpp)
  file(READ ${SOURCE_DIR}/include/${file} text)
  string(APPEND entries "      {\"${file}\", R\"device(${text})device\"},\n")
endforeach()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT [[
#include "jit/device_text.hpp"

namespace expertile::jit {

std::vector<Header> device_texts() {
  return {
@entries@  };
}

}  // namespace expertile::jit
]] @ONLY)
