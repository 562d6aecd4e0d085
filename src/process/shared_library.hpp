#pragma once
// Libraries that are opened when they are needed and not linked: a machine without them runs everything else.

#include <optional>
#include <span>
#include <string>
#include <type_traits>

namespace expertile {

class SharedLibrary {
 public:
  // The first of these, names or paths, that the dynamic loader opens; none where it opens none. It stays open to the
  // end of the process: its threads and its static objects may outlive any owner.
  [[nodiscard]] static std::optional<SharedLibrary> open(std::span<const std::string> names);
  // Sets a pointer to the function of that name; false, and null, where the library has none.
  template <class Pointer>
  [[nodiscard]] bool find(Pointer& function, const char* name) const {
    static_assert(std::is_function_v<std::remove_pointer_t<Pointer>>);
    function = reinterpret_cast<Pointer>(address(name));
    return function != nullptr;
  }

 private:
  explicit SharedLibrary(void* handle) : handle_(handle) {}
  [[nodiscard]] void* address(const char* name) const;
  void* handle_;
};

}  // namespace expertile
