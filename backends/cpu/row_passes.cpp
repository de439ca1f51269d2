#include "backends/cpu/row_passes.h"

#include <algorithm>
#include <numeric>

namespace blockgrad {

namespace {

using Kind = RowInstruction::Kind;

// In sums of an element: a value that costs more is kept, which is a store and a load of the
// second cache.
constexpr int most_price = 8;
constexpr int price_of_copy = 4;

int price_of(const RowDraftInstruction& step) {
  if (step.kind == Kind::copy) return 1;
  switch (step.op) {
    case ScalarOp::negative:
    case ScalarOp::abs:
    case ScalarOp::square:
    case ScalarOp::relu:
    case ScalarOp::flush_subnormal:
    case ScalarOp::add:
    case ScalarOp::subtract:
    case ScalarOp::multiply:
    case ScalarOp::maximum:
    case ScalarOp::minimum:
    case ScalarOp::equal:
    case ScalarOp::not_equal:
    case ScalarOp::less:
    case ScalarOp::less_equal:
    case ScalarOp::greater:
    case ScalarOp::greater_equal:
    case ScalarOp::where:
    case ScalarOp::fma: return 1;
    case ScalarOp::divide: return 4;
    default: return most_price + 1;
  }
}

class PassOrder {
 public:
  PassOrder(std::vector<RowDraftValue>& values, std::vector<RowDraftInstruction>& code,
            bool in_pieces)
      : values_(values),
        code_(code),
        pass_(values.size(), 0),
        price_(values.size(), 0),
        is_element_(values.size(), 0),
        is_costly_(values.size(), 0) {
    for (std::size_t v = 0; in_pieces && v < values.size(); ++v) {
      const bool is_element = values[v].from == RowDraftValue::From::input && !values[v].by_line;
      price_[v] = is_element ? price_of_copy : 0;
    }
  }

  void run() {
    for (const RowDraftInstruction& step : code_) place(step);
    const int last = *std::max_element(pass_.begin(), pass_.end());
    needs_.assign(at(last) + 1, std::vector<char>(values_.size(), 0));
    for (int pass = last; pass >= 0; --pass) find_needs(pass);
    std::vector<RowDraftInstruction> ordered;
    for (int pass = 0; pass <= last; ++pass) add_pass(pass, ordered);
    code_ = std::move(ordered);
  }

 private:
  static std::size_t at(std::int32_t i) { return static_cast<std::size_t>(i); }
  static bool is_over_elements(const RowDraftInstruction& step) {
    return !step.by_line && RowDraft::is_elementwise(step.kind);
  }

  void place(const RowDraftInstruction& step) {
    int& pass = pass_[at(step.out)];
    for (const std::int32_t a : step.args) pass = std::max(pass, pass_[at(a)]);
    if (step.kind == Kind::reduce) ++pass;
    if (!is_over_elements(step)) return;
    is_element_[at(step.out)] = 1;
    int& price = price_[at(step.out)];
    price = price_of(step);
    for (const std::int32_t a : step.args) price += price_[at(a)];
    is_costly_[at(step.out)] = price > most_price || !values_[at(step.out)].results.empty();
    if (is_costly_[at(step.out)]) price = 0;  // to read it
  }

  // What a pass makes of the elements; what it only reads of an earlier one is made there.
  void find_needs(int pass) {
    std::vector<char>& needs = needs_[at(pass)];
    for (const RowDraftInstruction& step : code_) {
      const std::int32_t wanted = step.kind == Kind::reduce ? step.args[0] : step.out;
      const bool is_root = step.kind == Kind::reduce || !values_[at(step.out)].results.empty();
      if (is_root && is_element_[at(wanted)] && pass_[at(wanted)] == pass) needs[at(wanted)] = 1;
    }
    for (auto step = code_.rbegin(); step != code_.rend(); ++step) {
      if (!is_element_[at(step->out)] || !needs[at(step->out)]) continue;
      for (const std::int32_t a : step->args) {
        if (!is_element_[at(a)]) continue;
        const bool is_kept = is_costly_[at(a)] && pass_[at(a)] < pass;
        needs_[is_kept ? at(pass_[at(a)]) : at(pass)][at(a)] = 1;
        values_[at(a)].is_kept = values_[at(a)].is_kept || is_kept;
      }
    }
  }

  void add_pass(int pass, std::vector<RowDraftInstruction>& ordered) {
    for (const RowDraftInstruction& step : code_) {
      const bool is_line_map = step.by_line && RowDraft::is_elementwise(step.kind);
      if (is_line_map && pass_[at(step.out)] == pass) ordered.push_back(step);
    }
    for (const RowDraftInstruction& step : code_) {
      if (step.kind == Kind::spread && pass_[at(step.out)] == pass) ordered.push_back(step);
    }
    std::vector<std::int32_t> now(pass_.size());  // the value of each value in this pass
    std::iota(now.begin(), now.end(), 0);
    for (const RowDraftInstruction& step : code_) {
      if (!is_over_elements(step) || !needs_[at(pass)][at(step.out)]) continue;
      ordered.push_back(step);
      for (std::int32_t& a : ordered.back().args) a = now[at(a)];
      if (pass_[at(step.out)] < pass) ordered.back().out = now[at(step.out)] = again(step.out);
    }
    for (const RowDraftInstruction& step : code_) {
      if (step.kind == Kind::reduce && pass_[at(step.out)] == pass + 1) ordered.push_back(step);
    }
  }

  std::int32_t again(std::int32_t v) {
    RowDraftValue made;
    made.dtype = values_[at(v)].dtype;
    values_.push_back(made);
    return static_cast<std::int32_t>(values_.size()) - 1;
  }

  std::vector<RowDraftValue>& values_;
  std::vector<RowDraftInstruction>& code_;
  std::vector<int> pass_;  // the first that can make each value
  std::vector<int> price_;
  std::vector<char> is_element_;  // made by an instruction over elements
  std::vector<char> is_costly_;   // never made twice
  std::vector<std::vector<char>> needs_;
};

}  // namespace

void order_passes(std::vector<RowDraftValue>& values, std::vector<RowDraftInstruction>& code,
                  bool in_pieces) {
  PassOrder(values, code, in_pieces).run();
}

}  // namespace blockgrad
