#include "kept_layers.hpp"

#include <cstring>
#include <type_traits>
#include <unordered_map>

#include "errors.hpp"

namespace expertile::python {
namespace {

static_assert(sizeof(expertile_layer_desc) == 8 * 7 + 4 * 2 + 4 * 4 + 4 * 2 + 4 * 2, "compared byte by byte: no gaps");

struct SameLayer {
  bool operator()(const LayerKey& a, const LayerKey& b) const noexcept {
    return std::memcmp(&a.desc, &b.desc, sizeof a.desc) == 0 && a.device == b.device && a.config_dir == b.config_dir;
  }
};
struct HashOfLayer {
  std::size_t operator()(const LayerKey& key) const noexcept {
    const auto* bytes = reinterpret_cast<const char*>(&key.desc);
    return std::hash<std::string_view>()({bytes, sizeof key.desc}) ^ static_cast<std::size_t>(key.device + 1);
  }
};

// Of the process, under the interpreter's lock; never destroyed, like the handles they hold.
std::unordered_map<LayerKey, KeptLayer, HashOfLayer, SameLayer>& kept() {
  static auto& all = *new std::unordered_map<LayerKey, KeptLayer, HashOfLayer, SameLayer>;
  return all;
}

void give_back(const KeptLayer& layer) {
  expertile_layer_destroy(layer.handle);
  expertile_device_destroy(layer.opened);
}

expertile_status prepare_unlocked(const LayerKey& key, KeptLayer& out) {
  const std::string device = key.device < 0 ? "cpu" : "cuda:" + std::to_string(key.device);
  expertile_status status = expertile_device_open(device.c_str(), 0, &out.opened);
  expertile_prepare_options options{};
  options.size = sizeof options;
  options.device = out.opened;
  options.config_dir = key.config_dir.empty() ? nullptr : key.config_dir.c_str();
  if (status == EXPERTILE_OK) status = expertile_layer_prepare(&key.desc, &options, &out.handle);
  return status;
}

}  // namespace

const KeptLayer* find_layer(const LayerKey& key) {
  if (const auto found = kept().find(key); found != kept().end()) return &found->second;
  // A GPU's kernels may have to be compiled: NVRTC may lie in a package of Python's.
  if (key.device >= 0 && !call_arrays("offer_nvrtc", Ref(PyTuple_New(0)))) return nullptr;
  KeptLayer made;
  expertile_status status = EXPERTILE_OK;
  {
    const Unlocked unlocked;
    status = prepare_unlocked(key, made);
  }
  if (status != EXPERTILE_OK) {
    raise(status);
    give_back(made);
    return nullptr;
  }
  const auto [entry, is_new] = kept().emplace(key, made);
  if (!is_new) give_back(made);  // another thread was as quick
  return &entry->second;
}

}  // namespace expertile::python
