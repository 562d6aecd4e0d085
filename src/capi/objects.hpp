#pragma once
// What the handles of expertile.h stand for.

#include <memory>
#include <string>

#include "capi/handles.hpp"
#include "capi/status.hpp"
#include "expertile/moe_layer.h"
#include "expertile/moe_layer.hpp"

namespace expertile::capi {

struct OpenDevice {
  Device device;
  std::string asked_for;  // "cuda:1": what PrepareOptions takes
  int threads = 0;
  std::string instructions;
};

// Of the process, never destroyed: handles may be asked for while it ends.
[[nodiscard]] HandleTable<Problem, 1>& problems();
[[nodiscard]] HandleTable<std::shared_ptr<const OpenDevice>, 2>& devices();
[[nodiscard]] HandleTable<GroupedGemm, 3>& operations();
[[nodiscard]] HandleTable<MoeLayer, 4>& layers();

template <class Handle>
[[nodiscard]] HandleBits bits_of(const Handle* handle) noexcept {
  return reinterpret_cast<HandleBits>(handle);
}

// Why a handle leads to nothing. maker: the function that makes such handles.
[[nodiscard]] Error no_handle(HandleBits handle, const char* what, const char* maker);
[[nodiscard]] Result<const Problem*> find(const expertile_problem* handle);
[[nodiscard]] Result<const OpenDevice*> find(const expertile_device* handle);
[[nodiscard]] Result<const GroupedGemm*> find(const expertile_operation* handle);
[[nodiscard]] Result<const MoeLayer*> find(const expertile_layer* handle);

// Of options, or all defaults where they are null.
[[nodiscard]] Result<PrepareOptions> options_of(const expertile_prepare_options* given);

// Adds what `make` gives to a table and writes its handle; null on an error.
template <class Table, class Handle, class Make>
expertile_status add_handle(Table& table, Handle** out, const Make& make) noexcept {
  if (out != nullptr) *out = nullptr;
  return guarded([&]() -> Status {
    if (out == nullptr) return invalid("out is null, it must point to a handle");
    auto made = make();
    if (!made) return fail(made.error());
    const HandleBits handle = table.add(std::move(*made));
    if (handle == 0) return fail(ErrorCode::internal, "no handle is left: over a million of this kind are alive");
    *out = reinterpret_cast<Handle*>(handle);
    return {};
  });
}

template <class Table, class Handle>
expertile_status remove_handle(Table& table, const Handle* handle, const char* what, const char* maker) noexcept {
  return guarded([&]() -> Status {
    if (handle == nullptr || table.remove(bits_of(handle))) return {};
    return fail(no_handle(bits_of(handle), what, maker));
  });
}

}  // namespace expertile::capi
