#pragma once
// Lists that hold each value once.

#include <algorithm>
#include <cstddef>
#include <vector>

namespace expertile {

// At the end, unless it is there.
template <class T>
void add_once(std::vector<T>& all, const T& value) {
  if (std::find(all.begin(), all.end(), value) == all.end()) all.push_back(value);
}

// Of each value, the place of the first that equals it.
template <class T>
[[nodiscard]] std::vector<std::size_t> first_equals(const std::vector<T>& all) {
  std::vector<std::size_t> first;
  first.reserve(all.size());
  for (const T& value : all) {
    first.push_back(static_cast<std::size_t>(std::find(all.begin(), all.end(), value) - all.begin()));
  }
  return first;
}

}  // namespace expertile
