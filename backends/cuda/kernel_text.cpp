#include "backends/cuda/kernel_text.h"

#include <algorithm>

#include "backends/cuda/maps/emit.h"
#include "blockgrad/graph/error.h"

namespace blockgrad {

namespace {

bool holds(const std::vector<std::string_view>& headers, std::string_view text) {
  return std::ranges::any_of(headers,
                             [&](std::string_view known) { return known.data() == text.data(); });
}

// As deep as headers include each other.
void add(std::vector<std::string_view>& headers, std::string_view name) {
  const std::span<const detail::KernelFile> files = detail::kernel_files();
  const auto file = std::ranges::find(files, name, &detail::KernelFile::name);
  check_internal(file != files.end(), "no kernels are embedded from ", name);
  if (holds(headers, file->text)) return;
  for (std::string_view rest = file->includes; !rest.empty();) {
    const std::size_t end = rest.find('\n');
    add(headers, rest.substr(0, end));
    rest.remove_prefix(end + 1);
  }
  headers.push_back(file->text);
}

}  // namespace

std::vector<std::string_view> kernel_headers(std::initializer_list<std::string_view> files) {
  std::vector<std::string_view> headers;
  for (const std::string_view file : files) add(headers, file);
  return headers;
}

std::string cuda_headers(std::span<const CudaText> texts) {
  std::vector<std::string_view> all;
  std::string text;
  for (const CudaText& of : texts) {
    for (const std::string_view header : of.headers) {
      if (holds(all, header)) continue;
      all.push_back(header);
      text += header;
    }
  }
  return text;
}

std::string cuda_program(std::span<const CudaText> texts) {
  std::string program = cuda_prelude() + cuda_headers(texts);
  for (std::size_t i = 0; i < texts.size(); ++i)
    program += cuda_named(texts[i].text, "kernel" + std::to_string(i) + "_");
  return program;
}

}  // namespace blockgrad
