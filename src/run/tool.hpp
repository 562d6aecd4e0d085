#pragma once
// The program that measures in a process of its own.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "expertile/error.hpp"

namespace expertile::run {

// The `expertile` tool of an installation, or of a build, whose library or program is in `directory`.
[[nodiscard]] std::optional<std::filesystem::path> tool_near(const std::filesystem::path& directory);

// given: a program and its arguments, whose path must be absolute and lead to one; empty: the tool near the file that
// this code is in. One line where there is none.
[[nodiscard]] Result<std::vector<std::string>> find_tool(const std::vector<std::string>& given);

}  // namespace expertile::run
