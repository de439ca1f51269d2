// accuracy ROOT [INNER [OUTER]]: writes docs/accuracy.md below ROOT from every INNER-th f32 between
// 2^-16 and 2^16 and every OUTER-th other one. 1 and 1 are all of them: half an hour.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include "tests/accuracy/page.h"

int main(int argc, char** argv) {
  const int inner = argc > 2 ? std::atoi(argv[2]) : 1, outer = argc > 3 ? std::atoi(argv[3]) : 1;
  if (argc < 2 || argc > 4 || inner < 1 || outer < 1) {
    std::fputs("usage: accuracy ROOT [INNER [OUTER]]\n", stderr);
    return 2;
  }
  try {
    std::vector<accuracy::Measured> rows;
    for (const accuracy::Function& f : accuracy::functions()) {
      rows.push_back({f, accuracy::sweep_floats(f, "", inner, outer),
                      accuracy::sweep_doubles(f, "", 8000000)});
      const accuracy::Measured& row = rows.back();
      std::printf("%-12s f32 %7.3f of %g at %.9g   f64 %7.3f of %g at %.17g\n", f.name,
                  row.single.error, f.limit32, row.single.at, row.twice.error, f.limit64,
                  row.twice.at);
      std::fflush(stdout);
    }
    std::ofstream(std::string(argv[1]) + "/docs/accuracy.md", std::ios::binary)
        << accuracy::page(rows, inner, outer);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "accuracy: %s\n", error.what());
    return 1;
  }
  return 0;
}
