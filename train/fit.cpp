#include "blockgrad/train/fit.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

#include "blockgrad/graph/grad.h"
#include "optim/core.h"
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
    require(static_cast<bool>(model), "fit: the model function is empty");
    require(options.epochs >= 0, "fit: epochs must not be negative, got ", options.epochs);
    require(options.batch_size >= 0, "fit: batch_size must not be negative, got ",
            options.batch_size);
    require(options.tolerance >= 0, "fit: tolerance must not be negative, got ", options.tolerance);
    require(options.accumulate >= 1, "fit: accumulate must be at least 1, got ",
            options.accumulate);
    require(options.clip_norm > 0, "fit: clip_norm must be above 0, got ", options.clip_norm);
    require(rows_ > 0, "fit: the data has no rows");
    require(rows_ < (std::int64_t{1} << 31), "fit: at most 2^31 rows, got ", rows_);
    batch_size_ = options.batch_size == 0 ? rows_ : std::min(options.batch_size, rows_);
    const bool shuffles = options.shuffle && batch_size_ < rows_;
    feeding_ = shuffles ? Feeding::gathered : Feeding::whole;
    order_.resize(shuffles ? static_cast<std::size_t>(rows_) : 0);
    build();
  }

  FitResult run() {
    start_ = Clock::now();
    std::int64_t record_at = std::min(next_record(0), options_.epochs);
    const std::int64_t updates = (epoch_batches() - 1) / options_.accumulate + 1;  // of an epoch
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
  std::int64_t epoch_batches() const { return (rows_ - 1) / batch_size_ + 1; }

  void build() {
    detail::OptimizerChange change(optimizer_);
    // Two calls show whether the parameters are the model's own or made anew each time.
    const Expr batches = batch_counter(where_);
    const ContextOptions context = context_of(batches, options_);
    const Batch first = build_batch(model_, data_, batch_size_, feeding_, context, where_);
    const Batch second = build_batch(model_, data_, batch_size_, feeding_, context, where_);
    const std::vector<Expr> made = parameters_of(values_of(first.outcome));
    const std::vector<Expr> again = parameters_of(values_of(second.outcome));
    for (const Expr& p : made) {
      require(std::find(again.begin(), again.end(), p) != again.end(), "fit: ", describe(p),
              " is made inside the model function, which is called once per batch size; make it "
              "outside");
    }
    counters_.emplace(batches, first.outcome, where_);
    const auto step_of = [&](std::int64_t size) {
      return make_step(model_, data_, size, feeding_, optimizer_, *counters_, epoch_batches(),
                       options_, where_);
    };
    step_.emplace(step_of(batch_size_));
    if (rows_ % batch_size_ != 0) rest_.emplace(step_of(rows_ % batch_size_));
    // The shuffled row numbers stay in place, so the feeds of all batches are made once.
    const Tensor order =
        borrow(std::span<const std::int32_t>(order_), {static_cast<std::int64_t>(order_.size())});
    for (std::int64_t first_row = 0; first_row + batch_size_ <= rows_; first_row += batch_size_) {
      feeds_.push_back(feed_of(step_->batch, data_, first_row, first_row + batch_size_, order));
    }
    if (rest_) rest_feed_ = feed_of(rest_->batch, data_, rows_ - rows_ % batch_size_, rows_, order);
    change.keep();
  }

  static std::vector<Expr> values_of(const Outcome& outcome) {
    std::vector<Expr> values = outcome.loss.penalties;
    values.push_back(outcome.loss.sum);
    for (const auto& [name, metric] : outcome.metrics) values.push_back(metric.sum);
    return values;
  }

  void run_epochs(std::int64_t epochs) {
    const auto batches = static_cast<std::int64_t>(feeds_.size());
    // Without a shuffle and a smaller last batch all epochs are one loop inside the program.
    const bool one_loop = order_.empty() && !rest_;
    if (one_loop) {
      constexpr std::int64_t most = 4096;
      while (epochs > 0 && !is_stopped_) {
        const std::int64_t now = std::min(epochs, std::max<std::int64_t>(1, most / batches));
        const std::int64_t steps =
            step_->program.run_many(now * batches, feeds_, options_.stop).steps();
        is_stopped_ = steps < now * batches;
        finish_epochs(is_stopped_ ? steps / batches : now);
        epochs -= now;
      }
      return;
    }
    for (; epochs > 0 && !is_stopped_; --epochs) {
      if (!order_.empty())
        data::fill_permutation(order_, options_.seed, static_cast<std::uint64_t>(result_.epochs));
      run_batches();
      if (rest_ && !is_stopped_)
        is_stopped_ = rest_->program.run_many(1, {&rest_feed_, 1}, options_.stop).steps() < 1;
      if (!is_stopped_) finish_epochs(1);
    }
  }

  // All full batches of an epoch, in stretches short enough for reports of progress.
  void run_batches() {
    const std::span<const Feeds> feeds(feeds_);
    std::size_t stretch = options_.on_progress ? 1 : feeds.size();
    for (std::size_t at = 0; at < feeds.size() && !is_stopped_;) {
      const std::size_t count = std::min(stretch, feeds.size() - at);
      const double before = seconds();
      const std::int64_t steps =
          step_->program
              .run_many(static_cast<std::int64_t>(count), feeds.subspan(at, count), options_.stop)
              .steps();
      is_stopped_ = steps < static_cast<std::int64_t>(count);
      at += count;
      if (seconds() - before < seconds_between_reports / 4) stretch *= 2;
      report_progress(false);
    }
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
    const std::int64_t done = counters_->batches_done();
    const std::int64_t batches = static_cast<std::int64_t>(feeds_.size()) + (rest_ ? 1 : 0);
    const std::int64_t epoch = done / batches;
    const std::int64_t batch = done % batches;
    if (!order_.empty())
      data::fill_permutation(order_, options_.seed, static_cast<std::uint64_t>(epoch));
    const bool is_rest = batch == static_cast<std::int64_t>(feeds_.size());
    const TrainingStep& step = is_rest ? *rest_ : *step_;
    std::string cause = "the replay stayed finite";
    try {
      const std::vector<Output> outputs(step.checked.begin(), step.checked.end());
      CompileOptions options = options_.compile;
      options.check_numerics = true;
      compile(outputs, {}, options_.device, options)
          .run(is_rest ? rest_feed_ : feeds_[static_cast<std::size_t>(batch)]);
    } catch (const Error& error) {
      cause = error.what();
    }
    throw DivergenceError(
        join({"training diverged at update ", update, " (epoch ", epoch + 1, ", batch ", batch + 1,
              "): ", cause, "; the parameters are as before that update; a smaller learning rate, ",
              "standardized inputs or clipped gradients usually help"}),
        update);
  }

  void remember_parameters() {
    before_.clear();
    if (options_.tolerance == 0) return;
    for (const Expr& p : step_->parameters) before_.push_back(p.value());
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
  Feeding feeding_ = Feeding::whole;
  std::vector<std::int32_t> order_;
  std::optional<Counters> counters_;
  std::optional<TrainingStep> step_, rest_;
  std::vector<Feeds> feeds_;
  Feeds rest_feed_;
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
