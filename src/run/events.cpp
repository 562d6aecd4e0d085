#include "run/events.hpp"

namespace expertile::run {

Events audible(Events events, bool quiet) {
  if (!quiet) return events;
  events.notice = nullptr;
  events.step = nullptr;
  events.progress = nullptr;
  return events;
}

void tell(const Events::Line& to, std::string_view line) {
  if (to) to(line);
}

void tell_all(const Events::Line& to, const std::vector<std::string>& lines) {
  for (const std::string& line : lines) tell(to, line);
}

}  // namespace expertile::run
