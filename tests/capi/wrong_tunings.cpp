// The rows of the functions that tune and look up.

#include "capi/wrong_calls.hpp"

namespace expertile::testing {

std::vector<WrongCall> wrong_tunings() {
  return {
      {"expertile_tune", "options = NULL, option_count = 1",
       [](Scene&) { return expertile_tune(nullptr, 1, nullptr, nullptr, 0); }, EXPERTILE_INVALID_ARGUMENT,
       "options is null, option_count says 1"},
      {"expertile_tune", "options[0].value = NULL",
       [](Scene&) {
         const expertile_option option{"dtype", nullptr};
         return expertile_tune(&option, 1, nullptr, nullptr, 0);
       },
       EXPERTILE_INVALID_ARGUMENT, "options[0].value is null, it must be text"},
      {"expertile_tune", "an option that is not known",
       [](Scene&) {
         const expertile_option option{"hiden-size", "64"};
         return expertile_tune(&option, 1, nullptr, nullptr, 0);
       },
       EXPERTILE_INVALID_ARGUMENT, "option 'hiden-size' is not known; did you mean hidden-size?"},
      {"expertile_tune", "worker_program = NULL, worker_count = 1",
       [](Scene&) { return expertile_tune(nullptr, 0, nullptr, nullptr, 1); }, EXPERTILE_INVALID_ARGUMENT,
       "worker_program is null, worker_count says 1"},
      {"expertile_tune", "worker_program[0] = NULL",
       [](Scene&) {
         const char* const program[] = {nullptr};
         return expertile_tune(nullptr, 0, nullptr, program, 1);
       },
       EXPERTILE_INVALID_ARGUMENT, "worker_program[0] is null, it must be text"},
      {"expertile_show", "events->size = 8",
       [](Scene&) {
         auto events = sized<expertile_events>();
         events.size = 8;
         return expertile_show(nullptr, 0, &events);
       },
       EXPERTILE_INVALID_ARGUMENT, "events.size is 8, it must be sizeof(expertile_events), 72 bytes"},
      {"expertile_bench", "a batch size of 0",
       [](Scene&) {
         const expertile_option option{"batch-size", "0"};
         return expertile_bench(&option, 1, nullptr);
       },
       EXPERTILE_INVALID_ARGUMENT, "--batch-size '0' is not a size; give a whole number from 1 to 2147483648"},
      {"expertile_device_synchronise", "device = NULL", [](Scene&) { return expertile_device_synchronise(nullptr); },
       EXPERTILE_INVALID_ARGUMENT, "device is null, expertile_device_open makes one"},
  };
}

}  // namespace expertile::testing
