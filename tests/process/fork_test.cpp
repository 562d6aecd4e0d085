// State of a process that its children do without: what another thread held or made at the fork is theirs no more.

#include "process/fork.hpp"

#include <gtest/gtest.h>

#include <future>
#include <mutex>
#include <thread>

#include "support/in_child.hpp"

namespace expertile {
namespace {

using testing::in_child;

// Another thread that begins `work`, which gets a function that says so and waits for the end of this.
class Elsewhere {
 public:
  template <class Work>
  explicit Elsewhere(Work work) {
    thread_ = std::thread([this, work] {
      work([this] {
        is_there_.set_value();
        let_go_.get_future().wait();
      });
    });
    is_there_.get_future().wait();
  }
  ~Elsewhere() {
    let_go_.set_value();
    thread_.join();
  }
  Elsewhere(const Elsewhere&) = delete;
  Elsewhere& operator=(const Elsewhere&) = delete;

 private:
  std::promise<void> is_there_;
  std::promise<void> let_go_;
  std::thread thread_;
};

TEST(Forks, AreCountedFromProcessToProcess) {
  const unsigned before = forks();
  EXPECT_TRUE(in_child([&] { return forks() == before + 1 && in_child([&] { return forks() == before + 2; }); }));
  EXPECT_EQ(forks(), before);
}

TEST(PerProcess, IsOneOfAllThreadsAndAnotherOneInAChild) {
  static constinit PerProcess<int> number;
  number.get() = 7;
  std::thread([] { EXPECT_EQ(number.get(), 7); }).join();
  EXPECT_TRUE(in_child([] {
    if (number.get() != 0) return false;
    number.get() = 8;
    return number.get() == 8;
  }));
  EXPECT_EQ(number.get(), 7);
}

TEST(PerProcess, IsNotLockedInAChildByAThreadOfItsParent) {
  static constinit PerProcess<std::mutex> mutex;
  const Elsewhere holder([](const auto& wait) {
    const std::lock_guard guard(mutex.get());
    wait();
  });
  EXPECT_TRUE(in_child([] { return mutex.get().try_lock(); }));
  EXPECT_FALSE(mutex.get().try_lock());
}

TEST(MadeOnce, IsMadeAgainInAChildWhereAThreadOfItsParentWasMakingIt) {
  static constinit PerProcess<MadeOnce<int>> made;
  {
    const Elsewhere maker([](const auto& wait) {
      static_cast<void>(made.get().get([&wait] {
        wait();
        return 1;
      }));
    });
    EXPECT_TRUE(in_child([] { return made.get().get([] { return 2; }) == 2; }));
  }
  EXPECT_EQ(made.get().get([] { return 3; }), 1);
}

TEST(ForeignLocks, AreLostToAChildWhereAThreadOfItsParentMayHoldThem) {
  EXPECT_TRUE(in_child([] { return ForeignLocks().can_be_had(); }));
  {
    const Elsewhere holder([](const auto& wait) {
      const ForeignLocks inside;
      wait();
    });
    EXPECT_TRUE(in_child([] { return !ForeignLocks().can_be_had(); }));
    EXPECT_TRUE(ForeignLocks().can_be_had());
  }
  EXPECT_TRUE(in_child([] { return ForeignLocks().can_be_had(); }));
}

}  // namespace
}  // namespace expertile
