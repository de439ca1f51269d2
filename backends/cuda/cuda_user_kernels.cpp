#include "backends/cuda/cuda_user_kernels.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <map>
#include <mutex>
#include <shared_mutex>

#include "backends/cuda/maps/emit.h"
#include "blockgrad/backends/cuda_kernels.h"

namespace blockgrad {

namespace {

using Describe = CudaSource (*)(const Op&, Types, Types);

struct Entry {
  Describe describe;
  std::type_index function;  // what tells two kernels apart
  SourceLoc where;
};

class Table {
 public:
  void add(std::type_index op, std::string_view name, const Entry& entry) {
    const std::string context = join({name, " (", to_string(entry.where), ")"});
    require(cuda_own_maker(op) == nullptr, context,
            ": CUDA's own kernel for this op cannot be replaced");
    const std::unique_lock lock(mutex_);
    const auto [known, added] = entries_.try_emplace(op, entry);
    require(added || known->second.function == entry.function, context,
            ": this op has another CUDA kernel already, added at ", to_string(known->second.where));
  }
  /// Null if there is none.
  Describe find(std::type_index op) const {
    const std::shared_lock lock(mutex_);
    const auto found = entries_.find(op);
    return found == entries_.end() ? nullptr : found->second.describe;
  }

 private:
  mutable std::shared_mutex mutex_;
  std::map<std::type_index, Entry> entries_;
};

Table& table() {
  static Table table;
  return table;
}

bool is_part_of_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

std::string without_comments(const std::string& text) {
  std::string code;
  for (std::size_t i = 0; i < text.size();) {
    const std::string_view rest = std::string_view(text).substr(i);
    const bool is_line = rest.starts_with("//");
    if (!is_line && !rest.starts_with("/*")) {
      code += text[i++];
      continue;
    }
    const std::size_t end = is_line ? text.find('\n', i) : text.find("*/", i + 2);
    i = end == std::string::npos ? text.size() : end + (is_line ? 0 : 2);
    code += ' ';
  }
  return code;
}

/// How many parameters KERNEL is defined with; -1 if it is not.
int parameters_of(const std::string& text) {
  constexpr std::string_view word = "KERNEL";
  const std::string code = without_comments(text);
  for (std::size_t at = 0; (at = code.find(word, at)) != std::string::npos; at += word.size()) {
    std::size_t i = code.find_first_not_of(" \t\n", at + word.size());
    if (i == std::string::npos || code[i] != '(' || (at > 0 && is_part_of_name(code[at - 1])))
      continue;
    int depth = 0, count = 0;
    bool is_empty = true;
    for (; i < code.size(); ++i) {
      if (code[i] == '(' || code[i] == '<') ++depth;
      else if ((code[i] == ')' || code[i] == '>') && --depth == 0) return is_empty ? 0 : count + 1;
      else if (code[i] == ',' && depth == 1) ++count;
      else if (code[i] != ' ' && code[i] != '\n' && code[i] != '\t') is_empty = false;
    }
  }
  return -1;
}

/// A user's kernel for one node.
struct UserKernel {
  std::vector<TensorType> inputs, outputs;
  CudaSource kernel;
  std::string_view name;  // that profilers and compilers may say

  std::size_t parameters() const { return inputs.size() + outputs.size() + kernel.numbers.size(); }

  std::string declaration() const {
    std::string list;
    const auto add = [&](std::string_view before, std::string_view type, std::string_view after) {
      list += fmt::format("{}{}{}{}", list.empty() ? "" : ", ", before, type, after);
    };
    for (const TensorType& type : inputs) add("const ", cuda_type(type.dtype), "*");
    for (const TensorType& type : outputs) add("", cuda_type(type.dtype), "*");
    for (const CudaNumber& number : kernel.numbers)
      add("", number.is_double() ? "double" : "long", "");
    return fmt::format("__global__ void KERNEL({})", list);
  }

  // In a namespace of its own: helpers of several kernels may have one name. The declaration gives
  // the definition its linkage; one of other types is another function, which the last line tells.
  std::string text() const {
    std::string text = "\nnamespace blockgrad {\nnamespace user_KERNEL {\n";
    const auto name_types = [&](char letter, const std::vector<TensorType>& types) {
      for (std::size_t i = 0; i < types.size(); ++i)
        text += fmt::format("using {}{} = {};\n", letter, i, cuda_type(types[i].dtype));
    };
    name_types('X', inputs);
    name_types('Y', outputs);
    // Any kernel's registers suffice for 256 threads of a block; of more each may have fewer.
    const std::string bounds =
        kernel.threads > 256 ? fmt::format("__launch_bounds__({}) ", kernel.threads) : "";
    return text + fmt::format("extern \"C\" {}{};\n#line 1 \"{}\"\n", bounds, declaration(), name) +
           kernel.text +
           "\nstatic_assert(sizeof(decltype(&KERNEL)) == 8, \"KERNEL has one definition\");\n"
           "}  // namespace user_KERNEL\nusing user_KERNEL::KERNEL;\n}  // namespace blockgrad\n";
  }

  void check() const {
    const int found = parameters_of(kernel.text);
    require(found >= 0, "the text of its CUDA kernel defines no `", declaration(), "`");
    require(static_cast<std::size_t>(found) == parameters(), "its CUDA kernel takes ", found,
            " parameters, expected ", parameters(), " (inputs: ", inputs.size(),
            ", outputs: ", outputs.size(), ", numbers: ", kernel.numbers.size(), "): `",
            declaration(), "`");
    constexpr std::int64_t most_blocks = std::numeric_limits<std::int32_t>::max();
    require(kernel.blocks >= 1 && kernel.blocks <= most_blocks, "its CUDA kernel wants 1 to ",
            most_blocks, " blocks, got ", kernel.blocks);
    require(kernel.threads >= 1 && kernel.threads <= 1024,
            "its CUDA kernel wants 1 to 1024 threads of a block, got ", kernel.threads);
  }
};

std::vector<TensorType> types_of(std::span<const Operand> operands, std::string_view does,
                                 std::string_view rule) {
  std::vector<TensorType> types;
  for (const Operand& operand : operands) {
    require(operand.layout.is_dense(), "its CUDA kernel ", does, ", so its ", rule,
            " may admit no other layout, got ", to_string(operand.layout));
    types.push_back({operand.dtype, operand.layout.shape});
  }
  return types;
}

CudaWork work_of(const CudaRequest& request) {
  UserKernel user{types_of(request.inputs, "reads dense inputs", "accepts()"),
                  types_of(request.outputs, "writes dense results", "makes()"),
                  {},
                  {}};
  CudaWork work;
  const bool is_empty = std::ranges::all_of(
      user.outputs, [](const TensorType& type) { return type.shape.size() == 0; });
  if (is_empty) return work;
  user.kernel = table().find(request.node.op.type())(request.node.op, user.inputs, user.outputs);
  user.name = request.node.op->name();
  if (!std::ranges::all_of(user.name, is_part_of_name)) user.name = "user_kernel";
  user.check();
  CudaLaunch launch;
  launch.text = {user.text(), {}, user.name};
  launch.blocks = user.kernel.blocks;
  launch.threads = user.kernel.threads;
  for (std::size_t i = 0; i < user.inputs.size(); ++i)
    launch.args.push_back({CudaArg::Kind::input, static_cast<std::int32_t>(i), 0});
  for (std::size_t i = 0; i < user.outputs.size(); ++i)
    launch.args.push_back({CudaArg::Kind::output, static_cast<std::int32_t>(i), 0});
  for (const CudaNumber& number : user.kernel.numbers)
    launch.args.push_back({CudaArg::Kind::number, 0, number.bits()});
  work.why = fmt::format("own kernel, {} blocks of {} threads", launch.blocks, launch.threads);
  work.declaration = user.declaration();
  work.launches.push_back(std::move(launch));
  return work;
}

CudaWork user_kernel(const CudaRequest& request) {
  check_internal(!request.is_update, "a user's kernel writes no storage");
  try {
    return work_of(request);
  } catch (const InternalError&) {
    throw;
  } catch (const std::exception& error) {
    fail({to_string(request.node.origin, request.node.op->name()), ": ", error.what()});
  }
}

}  // namespace

std::int64_t CudaNumber::bits() const {
  return is_double_ ? std::bit_cast<std::int64_t>(double_) : long_;
}

void CudaKernels::add(std::type_index op, std::string_view name, std::type_index function,
                      Describe describe, SourceLoc where) const {
  table().add(op, name, {describe, function, where});
}

CudaKernels cuda_kernels() { return {}; }

CudaMaker cuda_user_maker(const Op& op) {
  return table().find(op.type()) == nullptr ? nullptr : user_kernel;
}

}  // namespace blockgrad
