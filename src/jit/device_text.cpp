#include "jit/device_text.hpp"

namespace expertile::jit {

std::shared_ptr<const Headers> device_headers() {
  static const std::shared_ptr<const Headers> headers = make_headers(device_texts());
  return headers;
}

}  // namespace expertile::jit
