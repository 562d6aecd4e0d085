#pragma once
// Errors are values. A function that can fail returns Result<T>; nothing in the public API throws on bad input.

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace expertile {

enum class ErrorCode {
  invalid_argument,  // a size, pointer, option or file content that the caller can put right
  not_found,         // a file, model or device that is not there
  unsupported,       // understood, but outside what this build or device can do
  io,                // reading or writing failed; the message names the path
  internal,          // not the caller's fault
};

struct Error {
  ErrorCode code = ErrorCode::internal;
  std::string message;  // one line: the name, the value, and what would be right
};

template <class T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

[[nodiscard]] inline tl::unexpected<Error> fail(ErrorCode code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}
[[nodiscard]] inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

// Exit status of a program that stops on this error: 2 when its user can mend it, 1 otherwise.
[[nodiscard]] inline int exit_status(const Error& error) { return error.code == ErrorCode::internal ? 1 : 2; }

}  // namespace expertile
