#pragma once
// NVIDIA's run-time compiler, opened at run time: source text in, cubin out.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "expertile/error.hpp"
#include "jit/ptxas_report.hpp"

namespace expertile::jit {

using Header = std::pair<std::string, std::string>;  // the name that it is included by, its text

// Headers that many sources share, with what tells them from others: caches name kernels by it.
struct Headers {
  std::vector<Header> texts;
  std::string digest;  // 128 bits of all names and texts, as hexadecimal digits
};
[[nodiscard]] std::shared_ptr<const Headers> make_headers(std::vector<Header> texts);

struct Source {
  std::string name;  // for messages
  std::string text;
  std::shared_ptr<const Headers> shared{};  // null: none
  std::vector<Header> headers{};            // of its own

  friend bool operator==(const Source&, const Source&) = default;
};

struct CompileRequest {
  Source source;
  std::string arch;  // "sm_90a"
  std::vector<std::string> flags;

  friend bool operator==(const CompileRequest&, const CompileRequest&) = default;
};

struct Cubin {
  std::string image;
  Resources resources;
};

// Copies share the library. compile may be called from several threads.
class Nvrtc {
 public:
  // $EXPERTILE_NVRTC alone when it is set, else the usual names and places of the toolkit. The error names what was
  // tried.
  [[nodiscard]] static Result<Nvrtc> open();
  [[nodiscard]] std::string version() const;  // "13.0"
  // An error is one line: the source's name and the compiler's first complaint.
  [[nodiscard]] Result<Cubin> compile(const CompileRequest& request) const;

 private:
  struct Library;
  explicit Nvrtc(std::shared_ptr<const Library> library);
  std::shared_ptr<const Library> library_;
};

}  // namespace expertile::jit
