#pragma once
// A block while it runs: its threads as fibers, the barriers between them, and its memory. Threads are the block's own
// but where a name says that they are the cluster's.

#include <boost/context/fiber.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "emulator/box.hpp"
#include "emulator/clocks.hpp"
#include "emulator/emulator.hpp"
#include "emulator/fault.hpp"
#include "emulator/global_memory.hpp"
#include "emulator/mbarriers.hpp"
#include "emulator/products.hpp"
#include "emulator/shared_memory.hpp"

namespace expertile::emulator {

class Cluster;

// One pool for all blocks of a launch.
using Stacks = boost::context::pooled_fixedsize_stack;

enum class Waiting { nothing, at_barrier, at_cluster_barrier, at_named_barrier, for_phase, for_lanes, ended };

// 16 bytes of cp.async: `bytes` from global memory, and zeros.
struct Copy {
  unsigned offset = 0;
  const void* from = nullptr;
  int bytes = 0;
};

// A box on its way from shared memory: read and written at the wait for it.
struct StoredBox {
  Box box;
  unsigned offset = 0;
  Where where;
};

struct Thread {
  boost::context::fiber fiber;    // to continue it
  boost::context::fiber machine;  // to give up, while it runs
  Waiting waiting = Waiting::nothing;
  const char* operation = "";  // waited in
  Where where;
  int mbarrier = 0;  // waited for, and its phase's parity
  int parity = 0;
  std::deque<std::vector<Copy>> groups;           // committed, oldest first
  std::vector<Copy> open;                         // started since
  std::deque<std::vector<StoredBox>> box_groups;  // likewise
  std::vector<StoredBox> open_boxes;
};

// An operation of consecutive threads, while they come.
struct Gathering {
  Lanes arguments;
  std::size_t arrived = 0;
  const char* operation = "";  // what the first of the arrived calls
  Where where;
};

struct NamedBarrier {
  std::vector<int> arrived;  // threads, as the cluster numbers them
  int expected = 0;
  Where where;  // of the first
};

class Block {
 public:
  // index: in the launch. rank: in its cluster.
  Block(Cluster& cluster, const Launch& launch, GlobalMemory& global_memory, Stacks& stacks, int index, int rank);

  void start(const std::function<void()>& kernel);  // which must outlive the block
  // Continues each thread that waits for nothing, up to a fault; false where there was none.
  bool advance();
  [[nodiscard]] bool has_ended() const { return ended_ == threads_.size(); }
  [[nodiscard]] const std::optional<std::string>& fault() const { return fault_; }

  [[nodiscard]] int current() const { return current_; }  // thread
  [[nodiscard]] int current_in_cluster() const { return first_thread_ + current_; }
  [[nodiscard]] int first_in_cluster() const { return first_thread_; }
  [[nodiscard]] int warp() const { return current_ / kWarp; }
  [[nodiscard]] const Launch& launch() const { return launch_; }
  [[nodiscard]] int index() const { return index_; }
  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] Cluster& cluster() const { return cluster_; }

  [[noreturn]] void stop(const Where& where, const std::string& what) const { stop(current_, where, what); }
  [[noreturn]] void stop(int thread, const Where& where, const std::string& what) const {
    throw Fault{describe(thread, where, what)};
  }
  void stop_if(const std::optional<std::string>& fault, const Where& where) const {
    if (fault) stop(where, *fault);
  }
  void stop_if(const std::optional<Wrong>& fault, const Where& where) const {
    if (fault) stop(fault->thread, where, fault->what);
  }

  // "block 2 thread 37, mainloop.hpp:251: " and what is wrong.
  [[nodiscard]] std::string describe(int thread, const Where& where, const std::string& what) const;
  [[nodiscard]] std::string deadlock() const;

  void barrier(const Where& where);
  void wait_for_cluster(const Where& where) { give_up(Waiting::at_cluster_barrier, "cluster_barrier", where); }
  void resume_waiting_for_cluster() { resume_all(Waiting::at_cluster_barrier); }
  void named_barrier(int id, int threads, const Where& where);
  // size: consecutive threads that come together, kWarp or kWarpgroup.
  void together(int size, const char* name, void* argument, const std::function<void(const Lanes&)>& operate,
                const Where& where);

  void read_shared(int thread, unsigned offset, std::size_t bytes, void* to, const Where& where);
  void write_shared(unsigned offset, std::size_t bytes, const void* from, const Where& where);
  int add_shared(unsigned offset, int value, const Where& where);
  void copy_async(const Copy& copy, const Where& where);
  void commit_copies();
  void wait_for_copies(std::size_t pending);

  void store_box(unsigned offset, const TensorMap& map, int column, int row, const Where& where);
  void commit_boxes();
  void wait_for_boxes(std::size_t pending);

  void mbarrier_init(unsigned offset, int arrivals, const Where& where);
  void mbarrier_arrive(unsigned offset, int bytes, const Where& where);
  void mbarrier_wait(unsigned offset, int parity, const Where& where);
  // After arrivals and copies: whoever waits for a phase that they ended. False where nobody does.
  bool resume_waiting_for_phases();

  // What the operations that need no fiber work on.
  GlobalMemory& global;
  SharedMemory shared;
  Clocks& clocks;  // the cluster's
  Mbarriers mbarriers;
  Products products;

 private:
  void start_thread(std::size_t thread, const std::function<void()>& kernel);
  void end_of_thread() const;
  void finish_box(const StoredBox& stored);
  void give_up(Waiting waiting, const char* operation, const Where& where);
  void resume(int thread) { threads_[static_cast<std::size_t>(thread)].waiting = Waiting::nothing; }
  void resume_all(Waiting waiting);
  Thread& self() { return threads_[static_cast<std::size_t>(current_)]; }

  Cluster& cluster_;
  const Launch& launch_;
  Stacks& stacks_;
  int index_;
  int rank_;
  int first_thread_;  // its number in the cluster
  int current_ = 0;   // thread
  std::vector<Thread> threads_;
  std::size_t ended_ = 0;      // threads
  std::vector<int> everyone_;  // the block's threads, as the cluster numbers them
  std::vector<Gathering> warps_;
  std::vector<Gathering> warpgroups_;
  std::size_t at_barrier_ = 0;
  Where barrier_where_;
  std::map<int, NamedBarrier> named_barriers_;
  std::optional<std::string> fault_;
};

// The block whose kernel runs on this thread of the host: as implicit as threadIdx is on the device.
[[nodiscard]] Block& block();

}  // namespace expertile::emulator
