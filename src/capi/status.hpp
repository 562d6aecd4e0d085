#pragma once
// From values to what C can carry: a status, and a line that the thread keeps.

#include <expertile/expertile.h>
#include <fmt/format.h>

#include <exception>
#include <new>
#include <string>
#include <utility>

#include "expertile/error.hpp"

namespace expertile::capi {

[[nodiscard]] expertile_status status_of(ErrorCode code) noexcept;
// Keeps the line for expertile_last_error.
expertile_status refuse(const Error& error) noexcept;

// What a function of the boundary does: `work` returns Status. Nothing that is thrown leaves it.
template <class Work>
expertile_status guarded(const Work& work) noexcept {
  try {
    const Status status = work();
    return status ? EXPERTILE_OK : refuse(status.error());
  } catch (const std::bad_alloc&) {
    return refuse({ErrorCode::internal, "out of memory"});
  } catch (const std::exception& error) {
    return refuse({ErrorCode::internal, std::string("internal error: ") + error.what()});
  } catch (...) {
    return refuse({ErrorCode::internal, "internal error"});
  }
}

[[nodiscard]] inline tl::unexpected<Error> invalid(std::string line) {
  return fail(ErrorCode::invalid_argument, std::move(line));
}

}  // namespace expertile::capi
