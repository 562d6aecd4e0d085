#pragma once
// tune, bench, show and the command line, for expertile/_tuning.py.

#include "python_api.hpp"

namespace expertile::python {

// tune(options, worker, events), bench(options, events), show(options, events): options a list of pairs of str, worker
// a list of str, events an object whose methods are called. Return the JSON document.
PyObject* tune(PyObject* module, PyObject* arguments);
PyObject* bench(PyObject* module, PyObject* arguments);
PyObject* show(PyObject* module, PyObject* arguments);
// command_line(arguments): the whole tool; its exit status.
PyObject* command_line(PyObject* module, PyObject* arguments);

}  // namespace expertile::python
