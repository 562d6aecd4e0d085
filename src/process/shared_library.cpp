#include "process/shared_library.hpp"

#include <dlfcn.h>

namespace expertile {

std::optional<SharedLibrary> SharedLibrary::open(std::span<const std::string> names) {
  for (const std::string& name : names) {
    if (void* handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL); handle != nullptr) return SharedLibrary(handle);
  }
  return std::nullopt;
}

void* SharedLibrary::address(const char* name) const { return dlsym(handle_, name); }

}  // namespace expertile
