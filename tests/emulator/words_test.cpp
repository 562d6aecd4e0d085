// Words that a thread copies and then arrives with at an mbarrier: what whoever waits there sees, and planted faults.

#include <gtest/gtest.h>

#include <functional>
#include <ptx90.hpp>  // the emulator's
#include <string>

#include "emulator/emulator.hpp"

namespace expertile::testing {
namespace {

constexpr unsigned kFull = 0;     // a barrier of a warp's 32 arrivals
constexpr unsigned kPlain = 8;    // and one of a single arrival
constexpr unsigned kWords = 128;  // where the warp's words go, four bytes a lane

class CopiedWords : public ::testing::Test {
 protected:
  void SetUp() override {
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "AddressSanitizer does not follow exceptions on the stacks of fibers";
#endif
    for (int i = 0; i < 32; ++i) in_[i] = static_cast<float>(i + 1);
  }
  // The emulator's words on two warps: what the first does, and the second.
  std::string fault(const std::function<void(int lane)>& first, const std::function<void(int lane)>& second) {
    const emulator::Launch launch{
        .blocks = 1, .threads = 64, .shared_bytes = 1024, .memory = {{"in", in_, sizeof(in_), false}}};
    const auto status = emulator::run(launch, [&] {
      if (ptx::thread_index() == 0) {
        ptx::mbarrier_init(kFull, 32);
        ptx::mbarrier_init(kPlain, 1);
        ptx::mbarrier_fence_inits();
      }
      ptx::barrier();
      (ptx::thread_index() < 32 ? first : second)(ptx::thread_index() % 32);
    });
    return status ? "none" : status.error().message;
  }
  // Every lane's own word.
  void copy_words(int lane) const { ptx::copy_word(kWords + static_cast<unsigned>(4 * lane), in_ + lane); }
  void bring_words(int lane) const {
    copy_words(lane);
    ptx::arrive_with_words(kFull);
  }
  static float word(int lane) { return ptx::load_shared<float>(kWords + static_cast<unsigned>(4 * lane)); }
  static void expect_in(const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
    EXPECT_NE(text.find("words_test.cpp:"), std::string::npos) << text;
  }

  alignas(16) float in_[32] = {};
};

TEST_F(CopiedWords, AreThereAfterTheirPhase) {
  const auto text = fault([this](int lane) { bring_words(lane); },
                          [this](int lane) {
                            ptx::mbarrier_wait(kFull, 0);
                            EXPECT_EQ(word(lane), in_[lane]);
                          });
  EXPECT_EQ(text, "none");
}

TEST_F(CopiedWords, OfOneLaneThatHasNotArrivedEndNoPhase) {
  const auto text = fault(
      [this](int lane) {
        copy_words(lane);
        if (lane != 7) ptx::arrive_with_words(kFull);
        if (lane == 7) ptx::cp_async_commit();
        if (lane == 7) ptx::cp_async_wait<0>();
      },
      [](int) { ptx::mbarrier_wait(kFull, 0); });
  expect_in(text, "misses 1 of 32 arrivals");
}

TEST_F(CopiedWords, AreNotReadWithoutAWait) {
  const auto text = fault(
      [this](int lane) {
        bring_words(lane);
        if (lane == 0) ptx::mbarrier_arrive(kPlain);
      },
      [](int lane) {
        ptx::mbarrier_wait(kPlain, 0);  // not theirs
        EXPECT_GE(word(lane), 0.0F);
      });
  expect_in(text, "is read while");
}

TEST_F(CopiedWords, AreNotReadByTheirOwnThreadEither) {
  const auto text = fault(
      [this](int lane) {
        bring_words(lane);
        EXPECT_GE(word(lane), 0.0F);
      },
      [](int) {});
  expect_in(text, "is read while");
}

TEST_F(CopiedWords, DoNotOverwriteWhatOthersMayStillRead) {
  const auto text = fault(
      [](int lane) {
        ptx::mbarrier_wait(kFull, 0);
        EXPECT_GE(word(lane), 0.0F);
      },
      [this](int lane) {
        bring_words(lane);
        ptx::mbarrier_wait(kFull, 0);
        bring_words(lane);  // the other warp has not said that it is done
      });
  expect_in(text, "is written without a barrier after");
}

TEST_F(CopiedWords, TellOfNothingElseThatTheirThreadDid) {
  const auto text = fault(
      [this](int lane) {
        copy_words(lane);
        if (lane == 0) ptx::store_shared(512, 1.0F);
        ptx::arrive_with_words(kFull);
      },
      [](int) {
        ptx::mbarrier_wait(kFull, 0);
        EXPECT_EQ(ptx::load_shared<float>(512), 1.0F);
      });
  expect_in(text, "is read without a barrier after thread 0 filled it");
}

TEST_F(CopiedWords, ThatNobodyArrivesWithAreStillUnderWayAtTheEnd) {
  const auto text = fault([this](int lane) { copy_words(lane); }, [](int) {});
  EXPECT_NE(text.find("ended with copies under way"), std::string::npos) << text;
}

TEST_F(CopiedWords, AreNotMixedWithCommittedCopies) {
  const auto text = fault(
      [this](int lane) {
        copy_words(lane);
        ptx::cp_async_commit();
        ptx::arrive_with_words(kFull);
      },
      [](int) {});
  expect_in(text, "while committed ones are under way");
}

TEST_F(CopiedWords, ComeFromInsideATensor) {
  const auto text = fault(
      [this](int lane) {
        ptx::copy_word(kWords + static_cast<unsigned>(4 * lane), in_ + lane + 1);
        ptx::arrive_with_words(kFull);
      },
      [](int) {});
  expect_in(text, "outside every tensor");
}

}  // namespace
}  // namespace expertile::testing
