#pragma once
// The whole of the command-line tool, for whoever has its arguments: the program `expertile`, and `python -m
// expertile`.

namespace expertile::cli {

// The exit status. argv as main has it. Prints, catches signals and names a logger: one call a process.
[[nodiscard]] int command_line(int argc, char** argv);

}  // namespace expertile::cli
