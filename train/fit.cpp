#include "blockgrad/train/fit.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "backends/backend.h"
#include "blockgrad/graph/grad.h"
#include "optim/core.h"
#include "train/pieces.h"
#include "train/step.h"

namespace blockgrad::train {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t updates_between_checks = 100;  // for `tolerance`
constexpr double seconds_between_reports = 0.1;

std::int64_t next_record(std::int64_t epoch) {
  return epoch < 50 ? epoch + 1 : epoch + std::max<std::int64_t>(1, epoch / 50);
}

class Fit {
 public:
  Fit(const Model& model, const data::Dataset& data, Optimizer& optimizer,
      const FitOptions& options, SourceLoc where)
      : model_(model),
        data_(data),
        optimizer_(optimizer),
        options_(options),
        where_(where),
        rows_(data.rows()) {
    const std::string call = "fit at " + to_string(where);
    require(static_cast<bool>(model), call, ": the model function is empty");
    require(options.epochs >= 0, call, ": epochs must not be negative, got ", options.epochs);
    require(options.batch_size >= 0, call, ": batch_size must not be negative, got ",
            options.batch_size);
    require(options.micro_batch >= 0, call, ": micro_batch must not be negative, got ",
            options.micro_batch);
    require(options.tolerance >= 0, call, ": tolerance must not be negative, got ",
            options.tolerance);
    require(options.accumulate >= 1, call, ": accumulate must be at least 1, got ",
            options.accumulate);
    require(options.clip_norm > 0, call, ": clip_norm must be above 0, got ", options.clip_norm);
    require(rows_ > 0, call, ": the data has no rows");
    require(rows_ < (std::int64_t{1} << 31), call, ": at most 2^31 rows, got ", rows_);
    batch_size_ = options.batch_size == 0 ? rows_ : std::min(options.batch_size, rows_);
    const std::int64_t micro = options.micro_batch;
    pieces_ =
        pieces_of(rows_, batch_size_, micro == 0 ? batch_size_ : std::min(micro, batch_size_));
    const bool shuffles = options.shuffle && batch_size_ < rows_;
    feeding_ = shuffles ? Feeding::gathered : Feeding::whole;
    order_.resize(shuffles ? static_cast<std::size_t>(rows_) : 0);
    build();
  }

  FitResult run() {
    start_ = Clock::now();
    std::int64_t record_at = std::min(next_record(0), options_.epochs);
    const std::int64_t updates = pieces_.back().batch / options_.accumulate + 1;  // of an epoch
    const std::int64_t check_every = (updates_between_checks - 1) / updates + 1;
    remember_parameters();
    while (result_.epochs < options_.epochs && !is_stopped_) {
      const std::int64_t check_at = options_.tolerance > 0
                                        ? (result_.epochs / check_every + 1) * check_every
                                        : options_.epochs;
      run_epochs(std::min({record_at, check_at, options_.epochs}) - result_.epochs);
      const bool converged = options_.tolerance > 0 && result_.epochs == check_at && has_settled();
      if (converged) result_.end = FitEnd::converged;
      if (result_.epochs == record_at || converged || is_stopped_) record();
      if (converged) break;
      while (record_at <= result_.epochs)
        record_at = std::min(next_record(record_at), std::max(options_.epochs, record_at + 1));
    }
    result_.seconds = seconds();
    report_progress(true);
    return std::move(result_);
  }

 private:
  // Pieces of one size that follow each other.
  struct Stretch {
    TrainingStep* step = nullptr;
    std::size_t first = 0, last = 0;
  };

  bool is_split() const { return !pieces_.front().ends_batch; }

  void build() {
    detail::OptimizerChange change(optimizer_);
    // Two calls show whether the parameters are the model's own or made anew each time.
    const Expr counter = piece_counter(where_);
    const ContextOptions context = context_of(counter, options_);
    const std::int64_t rows = pieces_.front().rows();
    const Batch first = build_batch(model_, data_, rows, feeding_, context, where_);
    const Batch second = build_batch(model_, data_, rows, feeding_, context, where_);
    const std::vector<Expr> made = parameters_of(values_of(first.outcome));
    const std::vector<Expr> again = parameters_of(values_of(second.outcome));
    for (const Expr& p : made) {
      require(std::find(again.begin(), again.end(), p) != again.end(), "fit at ", to_string(where_),
              ": ", describe(p),
              " is made inside the model function, which is called once per batch size; make it "
              "outside");
    }
    if (is_split()) require_separable(first);
    counters_.emplace(counter, first.outcome, where_);
    make_steps();
    change.keep();
  }

  // Pieces of a batch add up to it only if no node looks at all of its rows together.
  void require_separable(const Batch& batch) const {
    const std::string call = "fit at " + to_string(where_) + ": micro_batch: ";
    const std::string why =
        ", so pieces of a batch would train differently from the batch; leave micro_batch at 0, or "
        "use a norm over each row (layer_norm, group_norm)";
    for (const Node* node : detail::in_order(values_of(batch.outcome))) {
      const Expr value(node, 0);
      require(node->op->name() != "batch_norm", call, describe(value),
              " takes its statistics from all rows of a batch", why);
    }
    for (const Update& own : batch.updates.all()) {
      fail({call, describe(own.leaf), " is a state that its layer changes with every batch", why});
    }
  }

  void make_steps() {
    // The shuffled row numbers stay in place, so the feeds of all pieces are made once.
    const Tensor order =
        borrow(std::span<const std::int32_t>(order_), {static_cast<std::int64_t>(order_.size())});
    const StepMaker maker = step_maker(pieces_);
    for (std::size_t p = 0; p < pieces_.size(); ++p) {
      TrainingStep& step = step_of(maker, pieces_[p].rows());
      feeds_.push_back(feed_of(step.graph.batch, data_, pieces_[p].first, pieces_[p].last, order));
      if (stretches_.empty() || stretches_.back().step != &step)
        stretches_.push_back({&step, p, p});
      stretches_.back().last = p + 1;
    }
  }

  StepMaker step_maker(std::span<const Piece> pieces) const {
    const auto end = std::find_if(pieces.begin(), pieces.end(),
                                  [](const Piece& piece) { return piece.ends_batch; });
    const PieceCounts counts{options_.accumulate * (end - pieces.begin() + 1),
                             static_cast<std::int64_t>(pieces.size())};
    return {model_, data_, feeding_, optimizer_, *counters_, counts, options_, where_};
  }

  TrainingStep& step_of(const StepMaker& maker, std::int64_t rows) {
    const auto known = steps_.find(rows);
    if (known != steps_.end()) return known->second;
    try {
      return steps_.emplace(rows, maker.step(rows)).first->second;
    } catch (const OutOfMemory& error) {
      steps_.clear();
      throw OutOfMemory(error.what() + rows_that_fit());
    }
  }

  // The most rows at once for which there is memory, found by planning the steps of fewer and
  // fewer.
  std::string rows_that_fit() const {
    const auto fits = [&](std::int64_t rows) {
      const std::vector<Piece> pieces = pieces_of(rows_, batch_size_, rows);
      const StepMaker maker = step_maker(pieces);
      std::set<std::int64_t> sizes;
      for (const Piece& piece : pieces) sizes.insert(piece.rows());
      std::int64_t bytes = 0;
      for (const std::int64_t size : sizes) bytes += maker.bytes(size);
      return backend_of(options_.device).has_memory(bytes);
    };
    std::int64_t low = 0, high = pieces_.front().rows();
    while (high - low > 1) {
      const std::int64_t middle = low + (high - low) / 2;
      (fits(middle) ? low : high) = middle;
    }
    if (low == 0) return "\nnot even one row at a time would fit";
    const std::string rows = std::to_string(low);
    return "\nbatch_size = " + rows + " would fit, and micro_batch = " + rows +
           ", which leaves every update as it is";
  }

  static std::vector<Expr> values_of(const Outcome& outcome) {
    std::vector<Expr> values = outcome.loss.penalties;
    values.push_back(outcome.loss.sum);
    for (const auto& [name, metric] : outcome.metrics) values.push_back(metric.sum);
    return values;
  }

  void run_epochs(std::int64_t epochs) {
    const auto pieces = static_cast<std::int64_t>(pieces_.size());
    // Without a shuffle and a smaller last piece all epochs are one loop inside the program.
    if (order_.empty() && stretches_.size() == 1) {
      constexpr std::int64_t most = 4096;
      while (epochs > 0 && !is_stopped_) {
        const std::int64_t now = std::min(epochs, std::max<std::int64_t>(1, most / pieces));
        std::int64_t steps =
            stretches_[0].step->program.run_many(now * pieces, feeds_, options_.stop).steps();
        is_stopped_ = steps < now * pieces;
        if (is_stopped_) steps += finish_batch(static_cast<std::size_t>(steps % pieces));
        finish_epochs(steps / pieces);
        epochs -= now;
      }
      return;
    }
    for (; epochs > 0 && !is_stopped_; --epochs) {
      if (!order_.empty())
        data::fill_permutation(order_, options_.seed, static_cast<std::uint64_t>(result_.epochs));
      for (std::size_t s = 0; s < stretches_.size() && !is_stopped_; ++s)
        run_stretch(stretches_[s]);
      if (!is_stopped_ || counters_->pieces_done() == (result_.epochs + 1) * pieces)
        finish_epochs(1);
    }
  }

  // In parts short enough for reports of progress.
  void run_stretch(const Stretch& stretch) {
    const std::span<const Feeds> feeds(feeds_);
    std::size_t part = options_.on_progress ? 1 : feeds.size();
    for (std::size_t at = stretch.first; at < stretch.last && !is_stopped_;) {
      const std::size_t count = std::min(part, stretch.last - at);
      const double before = seconds();
      const std::int64_t steps =
          stretch.step->program
              .run_many(static_cast<std::int64_t>(count), feeds.subspan(at, count), options_.stop)
              .steps();
      is_stopped_ = steps < static_cast<std::int64_t>(count);
      if (is_stopped_) finish_batch(at + static_cast<std::size_t>(steps));
      at += count;
      if (seconds() - before < seconds_between_reports / 4) part *= 2;
      report_progress(false);
    }
  }

  // Runs the pieces that are left of a batch of which some have run; returns how many.
  std::int64_t finish_batch(std::size_t next) {
    std::int64_t done = 0;
    for (; next > 0 && !pieces_[next - 1].ends_batch; ++next, ++done)
      steps_.at(pieces_[next].rows()).program.run(feeds_[next]);
    return done;
  }

  void finish_epochs(std::int64_t done) {
    result_.epochs += done;
    if (counters_->has_failed()) explain_divergence();
    report_progress(false);
  }

  void record() {
    if (counters_->has_failed()) explain_divergence();
    result_.updates = counters_->updates_done();
    if (is_stopped_) result_.end = FitEnd::stopped;
    const std::int64_t known = result_.history.empty() ? 0 : result_.history.back().updates;
    const bool is_new = result_.updates != known;
    if (!is_new) return;
    Record point{result_.epochs, result_.updates, seconds(), counters_->take(), {}};
    if (options_.validation) {
      point.validation.push_back(
          evaluate(model_, *options_.validation, 0, options_.device, options_.compile));
    }
    result_.history.push_back(std::move(point));
  }

  // The failed step has updated nothing, and neither has any behind it: run again, op by op, it
  // fails again.
  [[noreturn]] void explain_divergence() {
    const std::int64_t update = counters_->updates_done() + 1;
    const auto pieces = static_cast<std::int64_t>(pieces_.size());
    const std::int64_t epoch = counters_->pieces_done() / pieces;
    const auto at = static_cast<std::size_t>(counters_->pieces_done() % pieces);
    if (!order_.empty())
      data::fill_permutation(order_, options_.seed, static_cast<std::uint64_t>(epoch));
    const Piece& piece = pieces_[at];
    const StepGraph& step = steps_.at(piece.rows()).graph;
    std::string cause = "the replay stayed finite";
    try {
      const std::vector<Output> outputs(step.checked.begin(), step.checked.end());
      CompileOptions options = options_.compile;
      options.check_numerics = true;
      compile(outputs, {}, options_.device, options).run(feeds_[at]);
    } catch (const Error& error) {
      cause = error.what();
    }
    const std::string rows = is_split()
                                 ? join({", its rows ", piece.first - piece.batch * batch_size_,
                                         " to ", piece.last - piece.batch * batch_size_ - 1})
                                 : "";
    throw DivergenceError(join({"training diverged at update ", update, " (epoch ", epoch + 1,
                                ", batch ", piece.batch + 1, rows, "): ", cause,
                                "; the parameters are as before that update; ", advice(piece)}),
                          update);
  }

  std::string advice(const Piece& piece) const {
    const std::string usual =
        "a smaller learning rate, standardized inputs or clipped gradients usually help";
    for (std::int64_t i = piece.first; i < piece.last; ++i) {
      const std::int64_t row = order_.empty() ? i : order_[static_cast<std::size_t>(i)];
      const std::string found = not_finite_in(data_, row);
      if (!found.empty())
        return found + ": leave such rows out, or fill them in, if the model reads them; else " +
               usual;
    }
    return usual;
  }

  void remember_parameters() {
    before_.clear();
    if (options_.tolerance == 0) return;
    for (const Expr& p : stretches_[0].step->graph.parameters) before_.push_back(p.value());
  }

  bool has_settled() {
    const std::vector<Tensor> before = std::move(before_);
    remember_parameters();
    for (std::size_t p = 0; p < before.size(); ++p) {
      for (std::int64_t i = 0; i < before[p].size(); ++i) {
        const double now = before_[p].at(i);
        if (!(std::abs(now - before[p].at(i)) <= options_.tolerance * std::max(1.0, std::abs(now))))
          return false;
      }
    }
    return true;
  }

  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  void report_progress(bool is_last) {
    if (!options_.on_progress) return;
    const double now = seconds();
    if (!is_last && now - last_report_ < seconds_between_reports) return;
    last_report_ = now;
    const double loss =
        result_.history.empty() ? std::nan("") : result_.history.back().training.loss;
    options_.on_progress({result_.epochs, options_.epochs, counters_->updates_done(), loss, now});
  }

  const Model& model_;
  const data::Dataset& data_;
  Optimizer& optimizer_;
  const FitOptions& options_;
  const SourceLoc where_;
  const std::int64_t rows_;
  std::int64_t batch_size_ = 0;
  std::vector<Piece> pieces_;  // of an epoch
  Feeding feeding_ = Feeding::whole;
  std::vector<std::int32_t> order_;
  std::optional<Counters> counters_;
  std::map<std::int64_t, TrainingStep> steps_;  // by rows of a piece
  std::vector<Stretch> stretches_;              // of an epoch
  std::vector<Feeds> feeds_;                    // of each piece
  std::vector<Tensor> before_;
  FitResult result_;
  bool is_stopped_ = false;
  Clock::time_point start_;
  double last_report_ = -1;
};

}  // namespace

FitResult fit(const Model& model, const data::Dataset& data, Optimizer& optimizer,
              const FitOptions& options, SourceLoc where) {
  return Fit(model, data, optimizer, options, where).run();
}

}  // namespace blockgrad::train
