#pragma once
// Lists that hold each value once.

#include <algorithm>
#include <vector>

namespace expertile {

// At the end, unless it is there.
template <class T>
void add_once(std::vector<T>& all, const T& value) {
  if (std::find(all.begin(), all.end(), value) == all.end()) all.push_back(value);
}

}  // namespace expertile
