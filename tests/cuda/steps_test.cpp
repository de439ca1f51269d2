// Many steps by one start on CUDA's executable: what comes out, what is asked of the runtime for
// it, and when copies and work may take effect.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/cuda_feeds.h"
#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"
#include "tests/support/on_cuda.h"

using namespace blockgrad;
using test_support::drawn;
using test_support::error_of;
using test_support::skips_cuda_programs;

namespace {

/// The runtime under test, with what it was asked for.
class Counting final : public CudaRuntime {
 public:
  struct Counts {
    int recordings = 0, starts = 0, copies = 0, copies_ahead = 0, host_waits = 0;
    std::int64_t recorded_calls = 0, bytes = 0;
    std::function<void(int starts)> at_start = [](int) {};
  };

  explicit Counting(std::uint64_t seed) : under_(test_support::cuda_test_runtime(seed)) {}

  const std::shared_ptr<Counts>& counts() const { return counts_; }
  std::string title() const override { return under_->title(); }
  CudaLimits limits() const override { return under_->limits(); }
  std::int64_t free_bytes() const override { return under_->free_bytes(); }
  std::vector<CudaFunction> load(std::span<const CudaText> texts) override {
    return under_->load(texts);
  }
  std::shared_ptr<std::byte> allocate(std::int64_t bytes) override {
    counts_->bytes += (bytes + 255) / 256 * 256;
    return under_->allocate(bytes);
  }
  void launch(const CudaCall& call) override {
    if (is_recording_) ++counts_->recorded_calls;
    under_->launch(call);
  }
  void copy_in(std::byte* to, const std::byte* from, std::int64_t bytes) override {
    ++counts_->copies;
    under_->copy_in(to, from, bytes);
  }
  void copy_within(std::byte* to, const std::byte* from, std::int64_t bytes) override {
    under_->copy_within(to, from, bytes);
  }
  void copy_out(std::byte* to, const std::byte* from, std::int64_t bytes) override {
    ++counts_->host_waits;
    under_->copy_out(to, from, bytes);
  }
  void wait() override {
    ++counts_->host_waits;
    under_->wait();
  }
  std::unique_ptr<CudaMark> mark() override { return under_->mark(); }
  void copy_ahead(std::byte* to, std::span<const CudaPart> parts) override {
    ++counts_->copies_ahead;
    under_->copy_ahead(to, parts);
  }
  std::unique_ptr<CudaSequence> record(const std::function<void()>& calls) override {
    ++counts_->recordings;
    is_recording_ = true;
    auto sequence = under_->record(calls);
    is_recording_ = false;
    return std::make_unique<Started>(std::move(sequence), counts_);
  }

 private:
  class Started final : public CudaSequence {
   public:
    Started(std::unique_ptr<CudaSequence> sequence, std::shared_ptr<Counts> counts)
        : sequence_(std::move(sequence)), counts_(std::move(counts)) {}
    void start() override {
      counts_->at_start(++counts_->starts);
      sequence_->start();
    }

   private:
    std::unique_ptr<CudaSequence> sequence_;
    std::shared_ptr<Counts> counts_;
  };

  std::shared_ptr<CudaRuntime> under_;
  std::shared_ptr<Counts> counts_ = std::make_shared<Counts>();
  bool is_recording_ = false;
};

/// A running value that depends on the order of all that is fed: s <- 0.9 s + x w, w <- w + x / 9.
struct Model {
  explicit Model(std::int64_t n = 40) : x(input("x", {n})), k(input("k", {}, DType::i32)) {
    updates.set(s, 0.9 * s + x * w + astype(k, DType::f32));
    updates.set(w, w + x / 9.0);
  }
  Feeds feeds(std::uint64_t seed) const {
    return {{x, drawn(x.shape(), DType::f32, seed, -1, 1)},
            {k, drawn({}, DType::i32, seed, -9, 9)}};
  }
  std::vector<Feeds> ring(std::uint64_t size) const {
    std::vector<Feeds> ring;
    for (std::uint64_t i = 0; i < size; ++i) ring.push_back(feeds(100 + i));
    return ring;
  }
  std::vector<double> values() const {
    std::vector<double> all;
    for (const Expr& state : {s, w}) {
      const Tensor value = state.value();
      for (std::int64_t i = 0; i < value.shape().size(); ++i) all.push_back(value.at(i));
    }
    return all;
  }

  Expr x, k;
  Expr s = state(zeros({x.shape().size()}), "s"), w = state(zeros({x.shape().size()}), "w");
  Updates updates;
};

struct Run {
  explicit Run(std::uint64_t seed = 1, std::int64_t n = 40)
      : model(n), runtime(std::make_shared<Counting>(seed)), counts(runtime->counts()) {}

  Device device() const { return make_device("cuda on the CPU", cuda_backend(runtime)); }
  Program program(const std::vector<Output>& outputs = {}) const {
    return compile(outputs, model.updates, device());
  }

  Model model;
  std::shared_ptr<Counting> runtime;
  std::shared_ptr<Counting::Counts> counts;
};

std::vector<double> one_by_one(std::int64_t n, std::uint64_t rings, std::int64_t size = 40) {
  Run run(1, size);
  Program program = run.program();
  const std::vector<Feeds> ring = run.model.ring(rings);
  for (std::int64_t i = 0; i < n; ++i) program.run(ring[static_cast<std::uint64_t>(i) % rings]);
  return run.model.values();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(steps)

BOOST_AUTO_TEST_CASE(small_steps_are_started_together_and_large_ones_alone) {
  for (const auto& [launches, steps] :
       {std::pair{0, 32}, {1, 32}, {16, 32}, {17, 30}, {100, 5}, {256, 2}, {257, 1}, {9999, 1}})
    BOOST_TEST(steps_together(launches) == steps);
}

BOOST_AUTO_TEST_CASE(one_set_of_feeds_gives_the_bits_of_single_steps) {
  if (skips_cuda_programs()) return;
  for (const std::int64_t n : {1, 31, 32, 33, 70}) {
    Run run;
    Program program = run.program({sum(run.model.x * run.model.w)});
    const Feeds feeds = run.model.feeds(100);
    const Results many = program.run_many(n, {feeds});
    BOOST_TEST(many.steps() == n);
    const double last = many.number(0);
    BOOST_TEST((run.model.values() == one_by_one(n, 1)));
    const Run single;
    Program other = single.program({sum(single.model.x * single.model.w)});
    for (std::int64_t i = 0; i + 1 < n; ++i) other.run(single.model.feeds(100));
    BOOST_TEST(other.run(single.model.feeds(100)).number(0) == last);
  }
}

BOOST_AUTO_TEST_CASE(who_runs_step_by_step_has_one_recording_and_many_steps_need_one_more) {
  if (skips_cuda_programs()) return;
  Run run;
  Program program = run.program();
  const Feeds feeds = run.model.feeds(1);
  for (int i = 0; i < 5; ++i) program.run(feeds);
  program.run_many(31, {feeds});
  BOOST_TEST(run.counts->recordings == 1);
  BOOST_TEST(run.counts->starts == 36);
  const std::int64_t calls = run.counts->recorded_calls;
  BOOST_TEST(program.report().kernels == calls);
  program.run_many(200, {feeds});
  BOOST_TEST(run.counts->recordings == 2);
  BOOST_TEST(run.counts->recorded_calls == 33 * calls);
  BOOST_TEST(run.counts->starts == 36 + 200 / 32 + 200 % 32);
  const std::int64_t bytes = run.counts->bytes;
  program.run_many(200, {feeds});
  BOOST_TEST(run.counts->recordings == 2);
  BOOST_TEST(run.counts->bytes == bytes);
  BOOST_TEST(run.counts->host_waits == 0);
}

// The order of copies and work is drawn from the runtime's seed.
BOOST_AUTO_TEST_CASE(a_ring_of_feeds_gives_the_bits_of_single_steps_in_every_order) {
  if (skips_cuda_programs()) return;
  for (const auto& [n, rings] :
       {std::pair<std::int64_t, std::uint64_t>{3, 2}, {64, 5}, {131, 100}}) {
    const std::vector<double> expected = one_by_one(n, rings);
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
      Run run(seed);
      Program program = run.program();
      const std::vector<Feeds> ring = run.model.ring(rings);
      program.run_many(n, ring);
      BOOST_TEST((run.model.values() == expected));
      BOOST_TEST(run.counts->copies_ahead > 0);
    }
  }
}

BOOST_AUTO_TEST_CASE(runs_of_all_kinds_follow_each_other_in_every_order) {
  if (skips_cuda_programs()) return;
  for (const std::int64_t size : {40, 70000}) {  // the larger ones are always copied ahead
    const auto all = [&](const Run& run, bool together) {
      Program program = run.program();
      const std::vector<Feeds> ring = run.model.ring(3);
      const auto go = [&](std::int64_t n, std::span<const Feeds> feeds) {
        if (together) return static_cast<void>(program.run_many(n, feeds));
        for (std::int64_t i = 0; i < n; ++i)
          program.run(feeds[static_cast<std::size_t>(i) % feeds.size()]);
      };
      const std::span<const Feeds> feeds(ring);
      const std::int64_t many = size > 1000 ? 4 : 35;
      go(many, feeds);
      go(1, feeds.first(1));
      go(many, feeds);
      go(many, feeds.subspan(1, 1));
      go(1, feeds.last(1));
      go(many, feeds.first(2));
      return run.model.values();
    };
    const std::vector<double> expected = all(Run(1, size), false);
    for (std::uint64_t seed = 1; seed <= (size > 1000 ? 2 : 4); ++seed)
      BOOST_TEST((all(Run(seed, size), true) == expected));
  }
}

BOOST_AUTO_TEST_CASE(a_group_of_small_feeds_is_one_copy_and_nothing_is_made_in_later_runs) {
  if (skips_cuda_programs()) return;
  Run run;
  Program program = run.program();
  const std::vector<Feeds> ring = run.model.ring(7);
  program.run_many(64, ring);
  const Counting::Counts before = *run.counts;
  program.run_many(200, ring);
  // 6 groups of 32 and 8 steps alone; the two recordings of one step were not all made yet.
  BOOST_TEST(run.counts->starts - before.starts == 6 + 8);
  BOOST_TEST(run.counts->copies_ahead - before.copies_ahead == 6 + 8);
  BOOST_TEST(run.counts->copies - before.copies == 1);  // of the run's state
  const Counting::Counts second = *run.counts;
  program.run_many(200, ring);
  program.run_many(200, ring);
  BOOST_TEST(run.counts->recordings == second.recordings);
  BOOST_TEST(run.counts->recordings == 4);
  BOOST_TEST(run.counts->bytes == second.bytes);
  BOOST_TEST(run.counts->host_waits == 0);
}

BOOST_AUTO_TEST_CASE(memory_of_all_sets_is_known_before_the_first_step) {
  if (skips_cuda_programs()) return;
  for (const std::int64_t n : {1, 40, 70000, 3000000}) {
    Run run(1, n);
    // A new value that is fed: its address stands in a table, one for each set.
    const Expr last = state(zeros({n}), "last");
    run.model.updates.set(last, run.model.x);
    const Program program = run.program();
    const auto aligned = [](std::int64_t bytes) { return (bytes + 255) / 256 * 256; };
    const Report& report = program.report();
    BOOST_TEST(run.counts->bytes - 3 * aligned(4 * n) - aligned(report.arena_bytes) ==
               report.peak_bytes - report.storage_bytes - report.arena_bytes);
  }
}

BOOST_AUTO_TEST_CASE(feeds_have_two_groups_of_sets_unless_they_are_very_large) {
  const auto layout_of = [](std::int64_t bytes, std::int64_t together) {
    return cuda_feeds(std::vector<std::int64_t>{bytes, 4}, together);
  };
  const CudaFeeds small = layout_of(1000, 32);
  BOOST_TEST((small.at == std::vector<std::int64_t>{0, 1024}));
  BOOST_TEST(small.set_bytes == 1280);
  BOOST_TEST(small.group == 32);
  BOOST_TEST(small.sets() == 64);
  BOOST_TEST(layout_of(1 << 20, 32).group == 3);
  BOOST_TEST(layout_of(100 << 20, 32).sets() == 2);
  BOOST_TEST(layout_of(300 << 20, 32).sets() == 1);
  BOOST_TEST(layout_of(1000, 1).sets() == 2);
  BOOST_TEST(layout_of(1000, 0).sets() == 1);
  BOOST_TEST(cuda_feeds({}, 32).sets() == 1);
}

BOOST_AUTO_TEST_CASE(a_table_with_addresses_of_feeds_is_of_the_step_s_own_set) {
  if (skips_cuda_programs()) return;
  Run run;
  const Expr last = state(zeros({40}), "last"), total = state(zeros({40}), "total");
  run.model.updates.set(last, run.model.x);
  run.model.updates.set(total, total + last);
  Program program = run.program();
  const std::vector<Feeds> ring = run.model.ring(50);
  program.run_many(49, ring);
  std::vector<float> expected(40, 0.0F);
  for (std::size_t i = 0; i < 48; ++i)
    for (std::size_t e = 0; e < 40; ++e)
      expected[e] += static_cast<float>(ring[i][0].value.at(static_cast<std::int64_t>(e)));
  for (std::int64_t e = 0; e < 40; ++e) {
    BOOST_TEST(last.value().at(e) == ring[48][0].value.at(e));
    BOOST_TEST(total.value().at(e) == expected[static_cast<std::size_t>(e)]);
  }
}

BOOST_AUTO_TEST_CASE(a_stop_ends_a_run_before_the_next_start) {
  if (skips_cuda_programs()) return;
  for (const std::uint64_t rings : {1, 5}) {
    Run run;
    Program program = run.program();
    const std::vector<Feeds> ring = run.model.ring(rings);
    StopToken stop;
    run.counts->at_start = [&](int starts) {
      if (starts == 3) stop.request_stop();
    };
    const std::int64_t steps = program.run_many(1000, ring, &stop).steps();
    BOOST_TEST(steps == 96);
    BOOST_TEST((run.model.values() == one_by_one(96, rings)));
    BOOST_TEST(program.run_many(10, ring, &stop).steps() == 0);
  }
}

BOOST_AUTO_TEST_CASE(a_step_among_many_that_fails_has_its_number_and_none_behind_it_updates) {
  if (skips_cuda_programs()) return;
  for (const std::uint64_t rings : {1, 50}) {
    Run run;
    const Expr table = state(drawn({9, 3}, DType::f32, 1, -1, 1), "table");
    const Expr count = state(zeros({}), "count");
    run.model.updates.set(count, count + 1.0);
    const Expr at = astype(count, DType::i32) - (rings > 1 ? run.model.k : 0 * run.model.k);
    Program program = run.program({take(table, at)});
    std::vector<Feeds> ring = run.model.ring(rings);
    for (std::size_t i = 0; i < ring.size(); ++i)
      ring[i][1].value = tensor<std::int32_t>({static_cast<std::int32_t>(i == 37 ? 0 : i)}, {});
    const std::string error = error_of([&] { program.run_many(70, ring); });
    BOOST_TEST(error.find(rings > 1 ? "37" : "9") != std::string::npos, error);
    BOOST_TEST(error.find(rings > 1 ? "step 37" : "step 9") != std::string::npos, error);
    BOOST_TEST(count.value().at(0) == (rings > 1 ? 37 : 9));
  }
}

BOOST_AUTO_TEST_CASE(profiles_and_watched_steps_and_those_of_little_memory_go_on_the_first_set) {
  if (skips_cuda_programs()) return;
  Run run;
  Program program = run.program();
  const std::vector<Feeds> ring = run.model.ring(3);
  program.run_many(70, ring);
  program.profile(ring[1], 2);
  program.run_many(70, ring);
  const Run watched;
  Run tight;
  Program small = compile({}, tight.model.updates, tight.device(), {.memory_limit = 1 << 20});
  small.run_many(70, tight.model.ring(3));
  small.run_many(70, tight.model.ring(3));
  BOOST_TEST(tight.counts->copies_ahead == 0);
  BOOST_TEST(tight.counts->recordings == 1);
  BOOST_TEST((run.model.values() == tight.model.values()));
  Program slow = compile({}, watched.model.updates, watched.device(), {.check_numerics = true});
  slow.run_many(70, watched.model.ring(3));
  slow.run_many(70, watched.model.ring(3));
  BOOST_TEST((run.model.values() == watched.model.values()));
}

BOOST_AUTO_TEST_SUITE_END()
