// What there is of each device on this machine, or why it is off.
#include <cstdio>

#include "blockgrad/backends/program.h"

int main() { std::printf("%s", blockgrad::device_report().c_str()); }
