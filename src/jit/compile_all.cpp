#include "jit/compile_all.hpp"

#include <fmt/format.h>

#include "jit/side_by_side.hpp"
#include "plan/distinct.hpp"

namespace expertile::jit {
namespace {

Result<Cubin> compile_one(const Nvrtc* nvrtc, const std::vector<CubinCache>& caches, const CompileRequest& request) {
  const std::string version = nvrtc == nullptr ? std::string() : nvrtc->version();
  for (std::size_t i = 0; i < caches.size(); ++i) {
    if (auto found = caches[i].find(request, i == 0 ? version : std::string())) return std::move(*found);
  }
  if (nvrtc == nullptr) {
    return fail(
        ErrorCode::not_found,
        fmt::format(
            "{} for {} is not in the cache of compiled kernels, and there is no NVRTC to compile it; install the "
            "CUDA toolkit's NVRTC, or use the CPU",
            request.source.name, request.arch));
  }
  auto cubin = nvrtc->compile(request);
  // A cache that cannot be written costs the next process its time, nothing else.
  if (cubin && !caches.empty()) static_cast<void>(caches[0].store(request, version, *cubin));
  return cubin;
}

}  // namespace

std::vector<Result<Cubin>> compile_all(const Nvrtc* nvrtc, const std::vector<CubinCache>& caches,
                                       const std::vector<CompileRequest>& requests, int threads) {
  std::vector<Result<Cubin>> results(requests.size());
  const std::vector<std::size_t> first = first_equals(requests);
  side_by_side(requests.size(), threads, [&](std::size_t i) {
    if (first[i] == i) results[i] = compile_one(nvrtc, caches, requests[i]);
  });
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (first[i] != i) results[i] = results[first[i]];
  }
  return results;
}

}  // namespace expertile::jit
