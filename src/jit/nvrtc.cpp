#include "jit/nvrtc.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "files/files.hpp"
#include "jit/digest.hpp"
#include "process/shared_library.hpp"

namespace expertile::jit {
namespace {

using Program = struct ProgramTag*;
constexpr int kSuccess = 0;
constexpr int kOldestMajor = 12;  // C++20

// Where toolkits and wheels put the library.
std::vector<std::string> places() {
  if (const std::string chosen = environment("EXPERTILE_NVRTC"); !chosen.empty()) return {chosen};
  std::vector<std::string> folders{""};
  if (const std::string home = environment("CUDA_HOME"); !home.empty()) folders.push_back(home + "/lib64/");
  folders.insert(folders.end(), {"/usr/local/cuda/lib64/", "/usr/local/cuda/targets/x86_64-linux/lib/",
                                 "/usr/local/cuda/targets/sbsa-linux/lib/"});
  std::vector<std::string> all;
  for (const std::string& folder : folders) {
    for (const char* file : {"libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"}) all.push_back(folder + file);
  }
  return all;
}

// The first line that speaks of an error.
std::string first_error(const std::string& log) {
  const auto error = log.find("error");
  if (error == std::string::npos) return log.substr(0, log.find('\n'));
  const auto begin = log.rfind('\n', error) == std::string::npos ? 0 : log.rfind('\n', error) + 1;
  return log.substr(begin, log.find('\n', error) - begin);
}

}  // namespace

struct Nvrtc::Library {
  int (*version)(int*, int*) = nullptr;
  int (*create)(Program*, const char*, const char*, int, const char* const*, const char* const*) = nullptr;
  int (*compile)(Program, int, const char* const*) = nullptr;
  int (*cubin_size)(Program, std::size_t*) = nullptr;
  int (*cubin)(Program, char*) = nullptr;
  int (*log_size)(Program, std::size_t*) = nullptr;
  int (*log)(Program, char*) = nullptr;
  int (*destroy)(Program*) = nullptr;
  const char* (*error_text)(int) = nullptr;
  int major = 0;
  int minor = 0;

  // From CUDA 12.9 on.
  [[nodiscard]] bool has_cache() const { return major > 12 || (major == 12 && minor >= 9); }

  [[nodiscard]] std::string log_of(Program program) const {
    std::size_t size = 0;
    if (log_size(program, &size) != kSuccess || size == 0) return {};
    std::string text(size, '\0');
    if (log(program, text.data()) != kSuccess) return {};
    text.resize(size - 1);  // without the final zero
    return text;
  }
};

std::shared_ptr<const Headers> make_headers(std::vector<Header> texts) {
  std::string all;
  for (const auto& [name, text] : texts) all += fmt::format("{} {}\n{}{}", name.size(), text.size(), name, text);
  std::string digest = digest_of(all);
  return std::make_shared<const Headers>(Headers{std::move(texts), std::move(digest)});
}

Nvrtc::Nvrtc(std::shared_ptr<const Library> library) : library_(std::move(library)) {}

Result<Nvrtc> Nvrtc::open() {
  const std::vector<std::string> all = places();
  const auto opened = SharedLibrary::open(all);
  if (!opened) {
    return fail(ErrorCode::not_found,
                fmt::format("NVRTC cannot be opened; tried {}; install the CUDA toolkit's NVRTC or name its file in "
                            "EXPERTILE_NVRTC",
                            fmt::join(all, ", ")));
  }
  auto library = std::make_shared<Library>();
  const bool complete =
      opened->find(library->version, "nvrtcVersion") && opened->find(library->create, "nvrtcCreateProgram") &&
      opened->find(library->compile, "nvrtcCompileProgram") && opened->find(library->cubin_size, "nvrtcGetCUBINSize") &&
      opened->find(library->cubin, "nvrtcGetCUBIN") && opened->find(library->log_size, "nvrtcGetProgramLogSize") &&
      opened->find(library->log, "nvrtcGetProgramLog") && opened->find(library->destroy, "nvrtcDestroyProgram") &&
      opened->find(library->error_text, "nvrtcGetErrorString");
  if (!complete || library->version(&library->major, &library->minor) != kSuccess || library->major < kOldestMajor) {
    return fail(ErrorCode::unsupported, fmt::format("NVRTC {}.{} is too old; install {}.0 or newer", library->major,
                                                    library->minor, kOldestMajor));
  }
  return Nvrtc(std::move(library));
}

std::string Nvrtc::version() const { return fmt::format("{}.{}", library_->major, library_->minor); }

Result<Cubin> Nvrtc::compile(const CompileRequest& request) const {
  std::vector<const char*> texts;
  std::vector<const char*> names;
  const auto add = [&](const std::vector<Header>& headers) {
    for (const auto& [name, text] : headers) {
      names.push_back(name.c_str());
      texts.push_back(text.c_str());
    }
  };
  if (request.source.shared) add(request.source.shared->texts);
  add(request.source.headers);
  Program created = nullptr;
  if (const int code = library_->create(&created, request.source.text.c_str(), request.source.name.c_str(),
                                        static_cast<int>(names.size()), texts.data(), names.data());
      code != kSuccess) {
    return fail(ErrorCode::internal, fmt::format("{}: {}", request.source.name, library_->error_text(code)));
  }
  const auto destroy = [this](Program* program) { library_->destroy(program); };
  const std::unique_ptr<Program, decltype(destroy)> program(&created, destroy);

  std::vector<std::string> flags = {"--gpu-architecture=" + request.arch, "-std=c++20", "--ptxas-options=-v"};
  // What its own cache gives comes without ptxas's report, and spills would go unseen; kernels are kept here anyway.
  if (library_->has_cache()) flags.emplace_back("--no-cache");
  flags.insert(flags.end(), request.flags.begin(), request.flags.end());
  std::vector<const char*> options;
  options.reserve(flags.size());
  for (const std::string& flag : flags) options.push_back(flag.c_str());
  const int code = library_->compile(created, static_cast<int>(options.size()), options.data());
  const std::string log = library_->log_of(created);
  if (code != kSuccess) {
    return fail(ErrorCode::internal, fmt::format("{} for {}: {}: {}", request.source.name, request.arch,
                                                 library_->error_text(code), first_error(log)));
  }
  std::size_t size = 0;
  Cubin cubin;
  if (library_->cubin_size(created, &size) == kSuccess) cubin.image.resize(size);
  if (size == 0 || library_->cubin(created, cubin.image.data()) != kSuccess) {
    return fail(ErrorCode::internal, fmt::format("{} for {}: NVRTC gave no cubin", request.source.name, request.arch));
  }
  cubin.resources = parse_ptxas_report(log);
  return cubin;
}

}  // namespace expertile::jit
