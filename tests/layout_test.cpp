// The include rules of CONTRIBUTING.md, read off the sources themselves.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <set>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

struct Include {
  std::string room;      // "plan" for src/plan/..., "include" for the public headers
  std::string includer;  // below the repository
  std::string header;
};

std::vector<Include> includes_of(const fs::path& file, const std::string& room) {
  std::vector<Include> found;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    if (!line.starts_with("#include ")) continue;
    const auto begin = line.find_first_of("<\"");
    const auto end = line.find_last_of(">\"");
    if (begin == std::string::npos || end <= begin) continue;
    found.push_back({room, fs::relative(file, EXPERTILE_SOURCE_DIR), line.substr(begin + 1, end - begin - 1)});
  }
  return found;
}

std::vector<Include> all_includes() {
  std::vector<Include> all;
  const fs::path root = EXPERTILE_SOURCE_DIR;
  for (const char* folder : {"src", "include"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      if (!entry.is_regular_file()) continue;
      const fs::path below = fs::relative(entry.path(), root / folder);
      const std::string room = folder == std::string("src") ? below.begin()->string() : "include";
      const auto found = includes_of(entry.path(), room);
      all.insert(all.end(), found.begin(), found.end());
    }
  }
  return all;
}

void expect_none(const std::string& rule, const std::function<bool(const Include&)>& breaks) {
  const auto all = all_includes();
  ASSERT_GT(all.size(), 50U);
  for (const Include& include : all) {
    EXPECT_FALSE(breaks(include)) << rule << ": " << include.includer << " includes " << include.header;
  }
}

bool is_one_of(const std::string& text, const std::vector<std::string>& choices) {
  for (const std::string& choice : choices) {
    if (text == choice) return true;
  }
  return false;
}

bool comes_from(const Include& include, const std::vector<std::string>& rooms) {
  for (const std::string& room : rooms) {
    if (include.header.starts_with(room + "/")) return true;
  }
  return false;
}

TEST(Layout, CudaIsIncludedNowhere) {
  // The driver and NVRTC are opened at run time, by prototypes of our own: a host without the toolkit builds the same.
  expect_none("no toolkit header", [](const Include& include) {
    return include.header.starts_with("cuda.") || include.header.starts_with("cuda_") ||
           include.header.starts_with("nvrtc") || include.header.starts_with("nvml");
  });
}

TEST(Layout, JsonStaysInFilesStoreReportAndProblem) {
  expect_none("JSON only in files, store, report and problem", [](const Include& include) {
    const bool is_json = include.header.starts_with("nlohmann") || include.header == "files/json_text.hpp";
    return is_json && !is_one_of(include.room, {"files", "store", "report", "problem"});
  });
}

TEST(Layout, TheLowerRoomsDoNotKnowTheUpperOnes) {
  expect_none("backend, plan and problem never include tune, run, cli or api", [](const Include& include) {
    return is_one_of(include.room, {"backend", "plan", "problem"}) &&
           comes_from(include, {"tune", "run", "cli", "api"});
  });
}

TEST(Layout, PlanKnowsDevicesButNoBackend) {
  expect_none("plan works with the numbers of a device", [](const Include& include) {
    return include.room == "plan" && comes_from(include, {"backend", "store", "report"});
  });
}

TEST(Layout, FilesKnowNoOtherRoom) {
  expect_none("files is the lowest room", [](const Include& include) {
    return include.room == "files" && comes_from(include, {"api", "backend", "capi", "cli", "plan", "problem",
                                                           "process", "report", "run", "store", "tune"});
  });
}

TEST(Layout, ProcessKnowsNoOtherRoom) {
  expect_none("process is for every room to use", [](const Include& include) {
    return include.room == "process" && include.header.find('/') != std::string::npos &&
           !comes_from(include, {"process", "expertile"});
  });
}

TEST(Layout, TheApiNeverIncludesTheTuner) {
  expect_none("api never includes tune, report, run or cli", [](const Include& include) {
    return include.room == "api" && comes_from(include, {"tune", "report", "run", "cli"});
  });
}

TEST(Layout, OnlyTheCommandLineKnowsRuns) {
  expect_none("run is included by cli alone", [](const Include& include) {
    return !is_one_of(include.room, {"run", "cli"}) && comes_from(include, {"run"});
  });
}

TEST(Layout, RunsKnowNeitherTheCommandLineNorTheApi) {
  expect_none("run includes every room but cli and api", [](const Include& include) {
    return include.room == "run" && (comes_from(include, {"cli", "api"}) || include.header.starts_with("CLI/"));
  });
}

TEST(Layout, RunsPrintNothingAndCatchNoSignals) {
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(EXPERTILE_SOURCE_DIR) / "src/run")) {
    ++files;
    std::ifstream stream(entry.path());
    const std::string text((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
    for (const char* word : {"print(", "printf(", "puts(", "std::cout", "std::cerr", "stdout", "stderr", "spdlog",
                             "sigaction", "signal(", "static std::"}) {
      EXPECT_EQ(text.find(word), std::string::npos) << entry.path() << " has " << word;
    }
  }
  EXPECT_GT(files, 10);
}

TEST(Layout, TheApiForCStandsOnThePublicOneAndNobodyOnIt) {
  expect_none("capi includes public headers, plan and problem", [](const Include& include) {
    return include.room == "capi" &&
           comes_from(include, {"api", "backend", "cli", "files", "jit", "report", "run", "store", "tune"});
  });
  expect_none("nobody includes capi",
              [](const Include& include) { return include.room != "capi" && comes_from(include, {"capi"}); });
  expect_none("the header for C includes C's alone", [](const Include& include) {
    return include.includer.ends_with("expertile.h") && !is_one_of(include.header, {"stddef.h", "stdint.h"});
  });
  expect_none("nothing in C++ needs the header for C", [](const Include& include) {
    return include.room != "capi" && include.header == "expertile/expertile.h" &&
           !include.includer.ends_with("moe_layer.h");
  });
}

TEST(Layout, TheDeviceTextIncludesNothingOutsideIt) {
  const fs::path root = fs::path(EXPERTILE_SOURCE_DIR) / "kernels";
  // The tile and its wgmma instructions are written for each kernel by src/jit.
  const std::set<std::string> generated = {"expertile/activation.hpp", "expertile/tile_config.hpp", "wgmma.hpp"};
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file()) continue;
    ++files;
    for (const Include& include : includes_of(entry.path(), "kernels")) {
      EXPECT_TRUE(fs::exists(root / include.header) || generated.count(include.header) > 0)
          << include.includer << " includes " << include.header;
    }
  }
  EXPECT_GT(files, 5);
}

TEST(Layout, TheCompilerRoomKnowsNoBackend) {
  expect_none("jit turns text into cubins, wherever they run", [](const Include& include) {
    return include.room == "jit" && comes_from(include, {"api", "backend", "cli", "report", "run", "store", "tune"});
  });
}

TEST(Layout, OnlyTheBackendKnowsItsOwnFolders) {
  expect_none("backends are known by backend/backend.hpp", [](const Include& include) {
    return include.room != "backend" && comes_from(include, {"backend/cpu", "backend/cuda"});
  });
}

TEST(Layout, PublicHeadersIncludeNothingPrivate) {
  expect_none("public headers stand alone", [](const Include& include) {
    return include.room == "include" &&
           comes_from(include, {"api", "backend", "capi", "cli", "plan", "problem", "report", "run", "store", "tune",
                                "fmt", "spdlog", "nlohmann"});
  });
}

}  // namespace
