#include "tune.hpp"

#include <expertile/expertile.h>

#include <string>
#include <vector>

#include "cli/command_line.hpp"
#include "errors.hpp"

namespace expertile::python {
namespace {

// ---- lists of text ------------------------------------------------------------------------------------------------

bool read_texts(PyObject* list, std::vector<std::string>& out) {
  const Py_ssize_t size = PySequence_Size(list);
  for (Py_ssize_t i = 0; i < size; ++i) {
    const Ref item(PySequence_GetItem(list, i));
    const char* text = item ? PyUnicode_AsUTF8AndSize(item.get(), nullptr) : nullptr;
    if (text == nullptr) return false;
    out.emplace_back(text);
  }
  return size >= 0;
}

std::vector<const char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<const char*> pointers;
  for (const std::string& text : texts) pointers.push_back(text.c_str());
  return pointers;
}

// ---- events -------------------------------------------------------------------------------------------------------

// The library works without the interpreter's lock, and takes it to tell. What a method of Python's raises ends the run
// at its next question, and is raised when it has ended.
class Events {
 public:
  explicit Events(PyObject* target) : target_(target) {}
  ~Events() { Py_XDECREF(raised_); }
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;

  [[nodiscard]] expertile_events table() {
    return {.size = sizeof(expertile_events),
            .user = this,
            .notice = tell_line<Line::notice>,
            .warning = tell_line<Line::warning>,
            .step = tell_line<Line::step>,
            .progress = tell_progress,
            .decided = tell_batch,
            .stop_requested = ask,
            .document = keep_document};
  }

  // A new reference to the document; null with what Python raised, or what the library refused.
  [[nodiscard]] PyObject* result(expertile_status status) {
    if (raised_ != nullptr) {
      PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(raised_)), raised_);
      return nullptr;
    }
    if (status != EXPERTILE_OK) return raise(status);
    return PyUnicode_FromStringAndSize(document_.data(), static_cast<Py_ssize_t>(document_.size()));
  }

 private:
  enum class Line { notice, warning, step };
  static constexpr const char* method_of(Line line) {
    return line == Line::notice ? "notice" : line == Line::warning ? "warning" : "step";
  }

  class Locked {
   public:
    Locked() {
      take_lock([this] { state_ = PyGILState_Ensure(); });
    }
    ~Locked() { PyGILState_Release(state_); }
    Locked(const Locked&) = delete;
    Locked& operator=(const Locked&) = delete;

   private:
    PyGILState_STATE state_{};
  };

  void call(const char* method, const Ref& arguments) {
    const Ref callee(arguments ? PyObject_GetAttrString(target_, method) : nullptr);
    const Ref result(callee ? PyObject_Call(callee.get(), arguments.get(), nullptr) : nullptr);
    if (!result) keep_raised();
  }
  void keep_raised() {
    PyObject* type = nullptr;
    PyObject* value = nullptr;
    PyObject* trace = nullptr;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    if (raised_ == nullptr && value != nullptr) {
      if (trace != nullptr) PyException_SetTraceback(value, trace);
      raised_ = std::exchange(value, nullptr);
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
  }

  template <Line LINE>
  static void tell_line(void* user, const char* line) {
    const Locked locked;
    static_cast<Events*>(user)->call(method_of(LINE), Ref(Py_BuildValue("(s)", line)));
  }
  static void tell_progress(void* user, const expertile_tune_progress* p) {
    const Locked locked;
    static_cast<Events*>(user)->call(
        "progress", Ref(Py_BuildValue("({s:s,s:s,s:L,s:d,s:d,s:d,s:i,s:i})", "projection", p->projection, "tile",
                                      p->tile, "batch", static_cast<long long>(p->batch), "best_us", p->best_us,
                                      "share_done", p->share_done, "seconds_left", p->seconds_left, "done",
                                      static_cast<int>(p->done), "all", static_cast<int>(p->all))));
  }
  static void tell_batch(void* user, const expertile_tuned_batch* b) {
    const Locked locked;
    static_cast<Events*>(user)->call(
        "decided", Ref(Py_BuildValue("({s:s,s:s,s:L,s:d,s:d,s:d,s:d,s:d,s:d,s:d,s:d})", "projection", b->projection,
                                     "tile", b->tile, "batch", static_cast<long long>(b->batch), "rows", b->rows,
                                     "default_us", b->default_us, "tuned_us", b->tuned_us, "ratio", b->ratio, "noise",
                                     b->noise, "gflops", b->gflops, "gbps", b->gbps, "ceiling_us", b->ceiling_us)));
  }
  // Ctrl-C, too, is raised when the batch size in hand is given up.
  static int ask(void* user) {
    const Locked locked;
    auto& self = *static_cast<Events*>(user);
    if (PyErr_CheckSignals() != 0) self.keep_raised();
    return self.raised_ == nullptr ? 0 : 1;
  }
  static void keep_document(void* user, const char* json) { static_cast<Events*>(user)->document_ = json; }

  PyObject* target_;
  PyObject* raised_ = nullptr;
  std::string document_;
};

struct Options {
  std::vector<std::string> texts;  // name, value, name, value, ...
  std::vector<expertile_option> all;
};
bool read_options(PyObject* pairs, Options& out) {
  if (!read_texts(pairs, out.texts)) return false;
  for (std::size_t i = 0; i + 1 < out.texts.size(); i += 2) {
    out.all.push_back({out.texts[i].c_str(), out.texts[i + 1].c_str()});
  }
  return true;
}

using Run = expertile_status (*)(const expertile_option*, std::size_t, const expertile_events*);
PyObject* run(PyObject* arguments, Run call) {
  PyObject* pairs = nullptr;
  PyObject* target = nullptr;
  Options options;
  if (PyArg_ParseTuple(arguments, "OO", &pairs, &target) == 0 || !read_options(pairs, options)) return nullptr;
  Events events(target);
  const expertile_events table = events.table();
  expertile_status status = EXPERTILE_OK;
  {
    const Unlocked unlocked;
    status = call(options.all.data(), options.all.size(), &table);
  }
  return events.result(status);
}

}  // namespace

PyObject* tune(PyObject*, PyObject* arguments) {
  PyObject* pairs = nullptr;
  PyObject* program = nullptr;
  PyObject* target = nullptr;
  Options options;
  std::vector<std::string> worker;
  if (PyArg_ParseTuple(arguments, "OOO", &pairs, &program, &target) == 0) return nullptr;
  if (!read_options(pairs, options) || !read_texts(program, worker)) return nullptr;
  Events events(target);
  const expertile_events table = events.table();
  const std::vector<const char*> words = pointers_to(worker);
  expertile_status status = EXPERTILE_OK;
  {
    const Unlocked unlocked;
    status = expertile_tune(options.all.data(), options.all.size(), &table, words.data(), words.size());
  }
  return events.result(status);
}

PyObject* bench(PyObject*, PyObject* arguments) { return run(arguments, expertile_bench); }

PyObject* show(PyObject*, PyObject* arguments) { return run(arguments, expertile_show); }

PyObject* command_line(PyObject*, PyObject* arguments) {
  std::vector<std::string> words;
  if (!read_texts(arguments, words)) return nullptr;
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  int status = 0;
  {
    const Unlocked unlocked;
    status = cli::command_line(static_cast<int>(words.size()), pointers.data());
  }
  return PyLong_FromLong(status);
}

}  // namespace expertile::python
