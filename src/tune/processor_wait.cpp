#include "tune/processor_wait.hpp"

#include <filesystem>
#include <fstream>
#include <system_error>

namespace expertile {

double seconds_waited_for_processors() {
  double nanoseconds = 0;
  std::error_code error;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task", error)) {
    std::ifstream file(thread.path() / "schedstat");  // ran, waited (both in nanoseconds), how often it ran
    double ran = 0;
    double waited = 0;
    if (file >> ran >> waited) nanoseconds += waited;
  }
  return 1e-9 * nanoseconds;
}

}  // namespace expertile
