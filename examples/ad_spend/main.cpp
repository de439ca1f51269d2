// Where does the next unit of money bring most? Learns it from a table of spendings and
// conversions, and shows on the way how gradient descent works and what the size of its batches
// does.

#include <cstdio>
#include <exception>
#include <vector>

#include "ad_spend/pictures.h"
#include "ad_spend/report.h"
#include "ad_spend/walk.h"
#include "blockgrad/data/files.h"
#include "support/stop_signal.h"

namespace {

using namespace ad_spend;

/// Does the shipped file's first row lead the table? It is the one that is walked by hand.
bool starts_like_shipped_file(const Problem& problem, const Row& row) {
  return problem.input_names.size() == 2 && problem.inputs.at(0) == row.x[0] &&
         problem.inputs.at(1) == row.x[1] && problem.target.at(0) == row.t;
}

void write_files(const Problem& problem, const Options& options,
                 const std::vector<Outcome>& outcomes) {
  if (!options.report.empty()) {
    blockgrad::data::write_text_file(options.report, report_text(problem, options, outcomes));
    std::printf("  wrote %s\n", options.report.c_str());
  }
  if (!options.weights.empty()) {
    write_weights(options.weights, problem, outcomes);
    std::printf("  wrote %s\n", options.weights.c_str());
  }
  draw_pictures(options.plot, problem, outcomes);
}

int run(const Options& options) {
  blockgrad::StopToken stop;
  const examples::StopOnInterrupt on_interrupt(stop);
  (void)blockgrad::device(options.device);  // a wrong name ends here, before anything is read
  const Problem problem = read_problem(options);
  const std::vector<Plan> plans = make_plans(options, problem);
  const Row shipped{{2, 5}, 10};
  if (starts_like_shipped_file(problem, shipped)) print_walk(problem, shipped);
  print_plans(problem, options, plans);

  std::vector<Outcome> outcomes;
  for (const Plan& plan : plans) {
    outcomes.push_back(train(plan, problem, options, stop));
    if (stop.stop_requested()) break;
  }
  print_results(problem, options, outcomes);
  write_files(problem, options, outcomes);
  if (!stop.stop_requested()) return 0;
  std::fprintf(stderr,
               "ad_spend: stopped by Ctrl-C; what was learned so far is above and in the files\n");
  return examples::interrupted_exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Options options;
    if (const std::optional<int> end = read_options(argc, argv, options)) return *end;
    return run(options);
  } catch (const std::exception& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "ad_spend: %s\n", error.what());
    return 1;
  }
}
