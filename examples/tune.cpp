// Tunes one small problem from a program, with a progress line, and calls it with what came out.
//
//   example_tune [configuration directory] [cpu, cuda or cuda:I]

#include <cstdio>
#include <expertile/grouped_gemm.hpp>
#include <expertile/tune.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace {

int report(const expertile::Error& error) {
  std::fprintf(stderr, "example_tune: %s\n", error.message.c_str());
  return expertile::exit_status(error);
}

void print_line(std::string_view line) { std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data()); }

void print_decided(std::string_view projection, const expertile::TunedBatch& batch) {
  std::printf("%.*s, batch size %lld: %.1f us, built in %.1f us\n", static_cast<int>(projection.size()),
              projection.data(), static_cast<long long>(batch.batch), batch.tuned_us, batch.default_us);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string config_dir = argc > 1 ? argv[1] : "";
  const std::string device = argc > 2 ? argv[2] : "auto";
  // As `expertile tune` takes them, without dashes.
  std::vector<expertile::TuneOption> options = {
      {"hidden-size", "64"},  {"num-experts", "4"},  {"top-k", "2"},    {"intermediate-size", "32"},
      {"projection", "down"}, {"batch-size", "1,4"}, {"device", device}};
  if (!config_dir.empty()) options.push_back({"output-dir", config_dir});
  expertile::TuneEvents events;
  events.notice = print_line;
  events.warning = print_line;
  events.decided = print_decided;
  events.progress = [](const expertile::TuneProgress& now) {
    std::fprintf(stderr, "\r%3.0f%%, about %.0f s left ", 100 * now.share_done, now.seconds_left);
  };
  const auto run = expertile::tune(options, events);
  std::fputc('\n', stderr);
  if (!run) return report(run.error());

  const expertile::TunedProjection& down = run->projections[0];
  const auto gemm = expertile::GroupedGemm::prepare(down.problem, {.device = device, .config_dir = config_dir});
  if (!gemm) return report(gemm.error());
  for (const expertile::TunedBatch& batch : down.batches) {
    const expertile::Selection selection = gemm->selection(batch.batch * down.problem.top_k);
    const std::string match(expertile::name(selection.match));
    std::printf("a call of batch size %lld: %s, of %s\n", static_cast<long long>(batch.batch), match.c_str(),
                selection.file.c_str());
  }
  return 0;
}
