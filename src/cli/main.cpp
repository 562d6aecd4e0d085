#include "cli/command_line.hpp"

int main(int argc, char** argv) { return expertile::cli::command_line(argc, argv); }
