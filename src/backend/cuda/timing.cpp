#include "backend/cuda/timing.hpp"

#include <memory>

namespace expertile::cuda {

Result<double> stream_ms(const Driver& driver, StreamHandle stream, const std::function<Status()>& work) {
  EventHandle begin = nullptr;
  EventHandle end = nullptr;
  float milliseconds = 0;
  Status status = work();
  const auto step = [&](int code) {
    if (status) status = driver.check(code, "timing on the GPU");
  };
  step(driver.event_create(&begin, 0));
  step(driver.event_create(&end, 0));
  if (status) step(driver.event_record(begin, stream));
  if (status) status = work();
  if (status) step(driver.event_record(end, stream));
  if (status) step(driver.event_synchronize(end));
  if (status) step(driver.event_milliseconds(&milliseconds, begin, end));
  if (begin != nullptr) driver.event_destroy(begin);
  if (end != nullptr) driver.event_destroy(end);
  if (!status) return fail(status.error());
  return milliseconds;
}

Result<double> graph_ms(const Driver& driver, StreamHandle stream, const std::function<Status()>& work) {
  constexpr int kThreadLocal = 1;  // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
  if (auto status = driver.check(driver.begin_capture(stream, kThreadLocal), "capturing a graph"); !status) {
    return fail(status.error());
  }
  const Status enqueued = work();
  GraphHandle captured = nullptr;
  const Status ended = driver.check(driver.end_capture(stream, &captured), "capturing a graph");
  const auto destroy = [&driver](GraphTag* graph) { driver.destroy_graph(graph); };
  const std::unique_ptr<GraphTag, decltype(destroy)> graph(captured, destroy);
  if (!enqueued || !ended) return fail(enqueued ? ended.error() : enqueued.error());
  GraphExecHandle made = nullptr;
  if (auto status = driver.check(driver.instantiate_graph(&made, captured, 0), "making a graph"); !status) {
    return fail(status.error());
  }
  const auto destroy_exec = [&driver](GraphExecTag* exec) { driver.destroy_graph_exec(exec); };
  const std::unique_ptr<GraphExecTag, decltype(destroy_exec)> exec(made, destroy_exec);
  return stream_ms(driver, stream,
                   [&] { return driver.check(driver.launch_graph(made, stream), "replaying a graph"); });
}

}  // namespace expertile::cuda
