#pragma once
// Compiled kernels on disk, found again by everything that went into them.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "jit/nvrtc.hpp"

namespace expertile::jit {

// $EXPERTILE_CACHE_DIR, else the user's cache directory, else empty: no cache.
[[nodiscard]] std::filesystem::path default_cubin_cache_directory();

// Safe between processes and threads: entries are written whole or not at all, and checked when they are read. A
// damaged entry is as good as none.
class CubinCache {
 public:
  // most_bytes: of all entries together; the oldest go first. An empty directory: finds and stores nothing.
  CubinCache(std::filesystem::path directory, std::int64_t most_bytes);

  // nvrtc_version: "13.0"; empty: any, for a host that cannot compile.
  [[nodiscard]] std::optional<Cubin> find(const CompileRequest& request, const std::string& nvrtc_version) const;
  // An error (a full or read-only directory) loses nothing but time; the caller may ignore it.
  [[nodiscard]] Status store(const CompileRequest& request, const std::string& nvrtc_version, const Cubin& cubin) const;

 private:
  void drop_oldest() const;

  std::filesystem::path directory_;
  std::int64_t most_bytes_;
};

}  // namespace expertile::jit
