// Conv2d and its gradient to the input on the CPU.
//
// The result of Conv2d is one fma chain over channel, kernel row and kernel column; that of
// Conv2dInput over output channel, kernel row and kernel column, of those that reach the element;
// what lies outside of the image is no term of either. For Conv2dWeight see conv_weight_kernel.cpp.
#include <algorithm>
#include <limits>
#include <memory>

#include "backends/cpu/conv_pieces.h"
#include "backends/cpu/conv_product.h"
#include "backends/cpu/conv_sizes.h"
#include "backends/cpu/families.h"
#include "blockgrad/ops/conv.h"

namespace blockgrad {

namespace detail {

extern const ConvTable conv_portable;
#if defined(__x86_64__)
extern const ConvTable conv_avx2;
extern const ConvTable conv_avx512;
#elif defined(__aarch64__)
extern const ConvTable conv_neon;
#endif

const ConvTable& conv_table(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512) return conv_avx512;
  if (isa == Isa::avx2) return conv_avx2;
#elif defined(__aarch64__)
  if (isa == Isa::neon) return conv_neon;
#endif
  check_internal(isa == Isa::portable, "no convolutions for ", isa_name(isa));
  return conv_portable;
}

}  // namespace detail

namespace {

using detail::ConvForm;
using detail::ConvKernels;
using detail::ConvPiece;
using detail::ConvPieces;
using detail::ConvProduct;
using detail::ConvScratch;
using detail::ConvSizes;

// Enough that threads share them evenly.
constexpr std::int64_t wanted_parts = 16;

std::string planes_text(bool is_in_place, std::int64_t bytes) {
  return is_in_place ? std::string("x in place") : join({"planes of ", bytes, " bytes"});
}

template <class T>
std::size_t bytes_of_elements(std::int64_t n) {
  return static_cast<std::size_t>(n) * sizeof(T);
}

// Of pieces that are whole images.
void tell_images(const KernelCall& call, std::int64_t first, const ConvPiece& p,
                 std::int64_t blocks, std::int64_t channel) {
  if (call.made.tell && blocks == 1)
    call.made.tell(call.made.context, first, first + (p.last - p.first) * channel);
}

ConvForm forward_form(const ConvSizes& s) {
  ConvForm form{s.out, s.in, s.rows.forward(), s.columns.forward(), s.in * s.taps(), s.taps(), {}};
  for (std::int64_t t = 0; t < s.taps(); ++t) form.weight_taps.push_back(t);
  return form;
}

template <class T>
ConvPieces forward_pieces(const ConvSizes& s, const ConvProduct& product) {
  const std::int64_t blocks = s.images * s.groups * product.blocks();
  return ConvPieces(s.images, s.groups, s.out, product.blocks(),
                    product.terms() * std::int64_t{sizeof(T)},
                    blocks > 0 ? std::max<std::int64_t>(1, wanted_parts / blocks) : 1);
}

template <class T>
Kernel forward_kernel(const ConvSizes& s, Isa isa) {
  const ConvKernels<T>& kernels = detail::conv_table(isa).of<T>();
  const auto product = std::make_shared<const ConvProduct>(forward_form(s), kernels);
  const ConvPieces pieces = forward_pieces<T>(s, *product);
  Kernel kernel;
  kernel.parts = pieces.parts();
  kernel.scratch = bytes_of_elements<T>(product->scratch() + pieces.rows() * product->terms());
  kernel.cost = s.nanoseconds();
  kernel.tells_elements = product->blocks() == 1;
  kernel.why =
      join({"blocks of ", product->block(), " rows, ",
            planes_text(product->is_in_place(),
                        static_cast<std::int64_t>(bytes_of_elements<T>(product->scratch())))});
  kernel.run = [s, product, &kernels, pieces](const KernelCall& call, std::int64_t first,
                                              std::int64_t last) {
    const T* const x = reinterpret_cast<const T*>(call.in[0]);
    const T* const w = reinterpret_cast<const T*>(call.in[1]);
    T* const y = reinterpret_cast<T*>(call.out[0]);
    T* const scratch = reinterpret_cast<T*>(call.scratch);
    T* const packed = scratch + product->scratch();
    using Place = ConvProduct::Place<T>;
    const auto weight = [&](const ConvPiece& p) {
      return ConvProduct::Weight<T>{w + p.group * s.out * product->terms(), p.first, p.last,
                                    packed + pieces.row(p) * product->terms()};
    };
    const auto to = [&](const ConvPiece& p) {
      return y + ((p.image * s.groups + p.group) * s.out + p.first) * s.y_channel() +
             p.block * product->block() * s.columns.y;
    };
    const auto place = [&](const ConvPiece& p) {
      return Place{x + (p.image * s.groups + p.group) * s.in * s.x_channel(),
                   p.block,
                   {to(p), p.last - p.first, s.y_channel(), product->block() * s.columns.y}};
    };
    for (std::int64_t part = first; part < last; ++part) {
      pieces.each_to_pack(part, part == first, [&](const ConvPiece& p) {
        product->pack(kernels, weight(p).all, p.first, p.last,
                      packed + pieces.row(p) * product->terms());
      });
      const ConvPiece p = pieces.piece(part);
      product->run(kernels, weight(p), place(p), to(p), s.y_channel(), scratch,
                   part > first ? ConvScratch::of_product : ConvScratch::unknown,
                   part + 1 < last ? place(pieces.piece(part + 1)) : Place{});
      tell_images(call, to(p) - y, p, product->blocks(), s.y_channel());
    }
  };
  return kernel;
}

// The elements of x in rows and columns of one residue of the stride.
struct Phase {
  std::int64_t row, column;
  ConvProduct product;
  std::int64_t packed;  // terms of the phases before it, whose rows are packed there
};

// Where there are several phases they are made in scratch first, and put between each other then.
template <class T>
class InputGradient {
 public:
  InputGradient(const ConvSizes& s, Isa isa)
      : s_(s),
        kernels_(detail::conv_table(isa).of<T>()),
        is_direct_(s.rows.stride == 1 && s.columns.stride == 1) {
    std::vector<std::pair<Pair, ConvForm>> forms;
    for (std::int64_t i = 0; i < std::min(s.rows.stride, s.rows.x); ++i) {
      for (std::int64_t j = 0; j < std::min(s.columns.stride, s.columns.x); ++j)
        forms.emplace_back(Pair{i, j}, form(i, j));
    }
    for (auto& [at, form] : forms) form.shares_planes = !is_direct_;
    std::int64_t block = std::numeric_limits<std::int64_t>::max();
    for (const auto& [at, form] : forms) block = std::min(block, detail::conv_block<T>(form).rows);
    for (auto& [at, form] : forms) {
      form.block = block;
      phases_.push_back({at.rows, at.columns, ConvProduct(form, kernels_), terms_});
      terms_ += phases_.back().product.terms();
      planes_ = std::max(planes_, phases_.back().product.scratch());
      if (!is_direct_) made_ = std::max(made_, s.in * block * form.columns.result);
    }
    if (!phases_.empty()) {
      pieces_ = ConvPieces(s.images, s.groups, s.in, phases_[0].product.blocks(),
                           terms_ * std::int64_t{sizeof(T)});
    }
  }

  std::int64_t parts() const { return pieces_.parts(); }
  std::int64_t blocks() const { return phases_.empty() ? 0 : phases_[0].product.blocks(); }
  std::int64_t scratch() const { return planes_ + 2 * made_ + pieces_.rows() * terms_; }
  std::string text() const {
    return join({phases_.size(), phases_.size() == 1 ? " phase" : " phases", ", planes of ",
                 planes_ * static_cast<std::int64_t>(sizeof(T)), " bytes"});
  }

  void run(const KernelCall& call, std::int64_t first, std::int64_t last) const {
    const T* const dy = reinterpret_cast<const T*>(call.in[0]);
    const T* const w = reinterpret_cast<const T*>(call.in[1]);
    T* const x = reinterpret_cast<T*>(call.out[0]);
    T* const scratch = reinterpret_cast<T*>(call.scratch);
    T* const packed = scratch + planes_ + 2 * made_;
    for (std::int64_t part = first; part < last; ++part) {
      pieces_.each_to_pack(part, part == first, [&](const ConvPiece& p) {
        for (const Phase& phase : phases_) {
          phase.product.pack(kernels_, group_weight(w, p), p.first, p.last,
                             packed + packed_at(phase, p));
        }
      });
      const ConvPiece p = pieces_.piece(part);
      const Place at = place(dy, x, p);
      const Place next = part + 1 < last ? place(dy, x, pieces_.piece(part + 1)) : Place{};
      const auto weight = [&](const Phase& phase) {
        return ConvProduct::Weight<T>{group_weight(w, p), p.first, p.last,
                                      packed + packed_at(phase, p)};
      };
      if (!is_direct_) {
        run_phases(weight, at, to_results(x, p), p.last - p.first, scratch, next);
      } else {
        const ConvProduct& product = phases_[0].product;
        product.run(kernels_, weight(phases_[0]), at,
                    to_results(x, p) + at.block * product.block() * s_.columns.x, s_.x_channel(),
                    scratch, part > first ? ConvScratch::of_product : ConvScratch::unknown, next);
      }
      tell_images(call, to_results(x, p) - x, p, blocks(), s_.x_channel());
    }
  }

 private:
  using Place = ConvProduct::Place<T>;

  const T* group_weight(const T* w, const ConvPiece& p) const {
    return w + p.group * s_.out * s_.in * s_.taps();
  }
  std::int64_t packed_at(const Phase& phase, const ConvPiece& p) const {
    return phase.packed * pieces_.rows() + pieces_.row(p) * phase.product.terms();
  }
  T* to_results(T* x, const ConvPiece& p) const {
    return x + ((p.image * s_.groups + p.group) * s_.in + p.first) * s_.x_channel();
  }
  Place place(const T* dy, T* x, const ConvPiece& p) const {
    const std::int64_t rows = phases_[0].product.block() * s_.rows.stride * s_.columns.x;
    return {dy + (p.image * s_.groups + p.group) * s_.out * s_.y_channel(),
            p.block,
            {to_results(x, p) + p.block * rows, p.last - p.first, s_.x_channel(), rows}};
  }

  // Whether the phases have as many rows and columns: then they read the same planes.
  bool is_alike() const {
    return s_.rows.x % s_.rows.stride == 0 && s_.columns.x % s_.columns.stride == 0;
  }

  ConvForm form(std::int64_t row, std::int64_t column) const {
    std::vector<std::int64_t> down, across;
    const bool is_shared = is_alike();
    ConvForm form{s_.in,
                  s_.out,
                  is_shared ? s_.rows.backward_of_all(row, down) : s_.rows.backward(row, down),
                  is_shared ? s_.columns.backward_of_all(column, across)
                            : s_.columns.backward(column, across),
                  s_.taps(),
                  s_.in * s_.taps(),
                  {}};
    for (const std::int64_t p : down) {
      for (const std::int64_t q : across)
        form.weight_taps.push_back(p < 0 || q < 0 ? -1 : p * s_.columns.w + q);
    }
    return form;
  }

  // In pairs of columns' residues; a last one without a partner alone.
  template <class F>
  void run_phases(const F& weight, const Place& at_rows, T* to, std::int64_t results, T* scratch,
                  const Place& next) const {
    const bool is_made = is_alike() && phases_[0].product.is_made_once();
    ConvScratch left = ConvScratch::unknown;
    for (std::size_t at = 0; at < phases_.size();) {
      const Phase& even = phases_[at];
      const bool is_pair = at + 1 < phases_.size() && phases_[at + 1].row == even.row;
      const Phase& odd = phases_[is_pair ? at + 1 : at];
      at += is_pair ? 2 : 1;
      const ConvProduct& product = even.product;
      const std::int64_t top = at_rows.block * product.block();
      const std::int64_t rows = std::min(product.block(), product.rows() - top);
      if (rows <= 0) continue;
      T* const made = scratch + planes_;
      const std::int64_t width = product.columns(), odd_width = odd.product.columns();
      product.run(kernels_, weight(even), at_rows, made, rows * width, scratch, left,
                  is_pair ? Place{} : next);
      if (is_made) left = ConvScratch::of_place;
      if (is_pair) {
        odd.product.run(kernels_, weight(odd), at_rows, made + made_, rows * odd_width, scratch,
                        left, next);
      }
      const std::int64_t step = s_.columns.stride, to_line = s_.rows.stride * s_.columns.x;
      for (std::int64_t k = 0; k < results; ++k) {
        const std::int64_t row = k * s_.rows.x + even.row + top * s_.rows.stride;
        T* line = to + row * s_.columns.x + even.column;
        const T* evens = made + k * rows * width;
        const T* odds = made + made_ + k * rows * odd_width;
        if (is_pair && step == 2) {
          kernels_.interleave(line, to_line, evens, odds, width + odd_width, rows);
          continue;
        }
        for (std::int64_t r = 0; r < rows; ++r, line += to_line, evens += width) {
          kernels_.spread(line, evens, width, step);
          if (is_pair) kernels_.spread(line + 1, odds + r * odd_width, odd_width, step);
        }
      }
    }
  }

  ConvSizes s_;
  const ConvKernels<T>& kernels_;
  bool is_direct_;
  std::vector<Phase> phases_;
  ConvPieces pieces_;                   // phases of later rows may have a row less, never more
  std::int64_t terms_ = 0;              // of all phases
  std::int64_t planes_ = 0, made_ = 0;  // elements of scratch: of planes, of a phase's results
};

template <class T>
Kernel input_kernel(const ConvSizes& s, Isa isa) {
  const auto gradient = std::make_shared<const InputGradient<T>>(s, isa);
  Kernel kernel;
  kernel.parts = gradient->parts();
  kernel.scratch = bytes_of_elements<T>(gradient->scratch());
  kernel.cost = s.nanoseconds();
  kernel.tells_elements = gradient->blocks() == 1;
  kernel.why = gradient->text();
  kernel.run = [gradient](const KernelCall& call, std::int64_t first, std::int64_t last) {
    gradient->run(call, first, last);
  };
  return kernel;
}

// Of an image and a group: a formula's call for fewer costs more than it saves.
constexpr std::int64_t least_elements = 2048;

template <class T>
std::int64_t image_parts_of(const ConvSizes& s, bool is_forward) {
  if (is_forward) {
    if (s.out * s.y_channel() < least_elements) return 0;
    const ConvProduct product(forward_form(s), detail::conv_table(Isa::portable).of<T>());
    return product.blocks() == 1 ? forward_pieces<T>(s, product).parts() : 0;
  }
  if (s.in * s.x_channel() < least_elements) return 0;
  const InputGradient<T> gradient(s, Isa::portable);
  return gradient.blocks() == 1 ? gradient.parts() : 0;
}

}  // namespace

std::int64_t image_parts(const Op& op, Types in, Types out) {
  const auto* forward = op.as<Conv2d>();
  const auto* input = op.as<Conv2dInput>();
  check_internal(forward || input, op->name(), " is no convolution");
  const ConvSizes sizes = forward
                              ? ConvSizes(forward->options, in[0].shape, in[1].shape, out[0].shape)
                              : ConvSizes(input->options, out[0].shape, in[1].shape, in[0].shape);
  return out[0].dtype == DType::f64 ? image_parts_of<double>(sizes, forward)
                                    : image_parts_of<float>(sizes, forward);
}

void add_conv_kernels(KernelTable& table) {
  table.add<Conv2d>([](const KernelRequest& r) {
    const ConvSizes sizes(r.node.op.as<Conv2d>()->options, r.inputs[0].layout.shape,
                          r.inputs[1].layout.shape, r.outputs[0].layout.shape);
    return r.inputs[0].dtype == DType::f32 ? forward_kernel<float>(sizes, r.isa)
                                           : forward_kernel<double>(sizes, r.isa);
  });
  table.add<Conv2dInput>([](const KernelRequest& r) {
    const ConvSizes sizes(r.node.op.as<Conv2dInput>()->options, r.outputs[0].layout.shape,
                          r.inputs[1].layout.shape, r.inputs[0].layout.shape);
    return r.inputs[0].dtype == DType::f32 ? input_kernel<float>(sizes, r.isa)
                                           : input_kernel<double>(sizes, r.isa);
  });
}

}  // namespace blockgrad
