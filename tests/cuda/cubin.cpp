#include "tests/cuda/cubin.h"

#include <cxxabi.h>
#include <elf.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <regex>
#include <sstream>
#include <stdexcept>

#include "backends/cuda/cuda_runtime.h"
#include "backends/cuda/kernel_text.h"
#include "backends/cuda/machine/nvrtc.h"

namespace blockgrad::cubin {

namespace {

constexpr std::string_view text_prefix = ".text.";

bool has_width(Kind kind) {
  switch (kind) {
    case Kind::load_global:
    case Kind::store_global:
    case Kind::load_shared:
    case Kind::store_shared:
    case Kind::load_local:
    case Kind::store_local: return true;
    case Kind::load_matrices:
    case Kind::copy_async:
    case Kind::fma_f32:
    case Kind::fma_f64:
    case Kind::tensor_core: return false;
  }
  return false;
}

/// A T at `offset` of the file.
template <class T>
T at(const std::string& file, std::uint64_t offset) {
  if (offset > file.size() || file.size() - offset < sizeof(T))
    throw std::runtime_error("the cubin is cut off");
  T value;
  std::memcpy(&value, file.data() + offset, sizeof(T));
  return value;
}

std::string demangled(const std::string& name) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(
      abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status), std::free);
  return text ? text.get() : name;
}

/// The registers of each function, by its symbol's number: the records 0x2f04 of .nv.info.
std::map<std::uint32_t, int> registers_of(const std::string& file, const Elf64_Shdr& info) {
  std::map<std::uint32_t, int> registers;
  const std::uint64_t end = info.sh_offset + info.sh_size;
  for (std::uint64_t i = info.sh_offset; i + 4 <= end;) {
    const auto tag = at<std::uint16_t>(file, i);
    const std::uint64_t bytes = tag % 256 == 4 ? at<std::uint16_t>(file, i + 2) : 0;
    if (tag == 0x2f04) registers[at<std::uint32_t>(file, i + 4)] = at<std::int32_t>(file, i + 8);
    i += 4 + bytes;
  }
  return registers;
}

std::string name_at(const std::string& file, const Elf64_Shdr& names, std::uint32_t offset) {
  const std::uint64_t begin = names.sh_offset + offset;
  at<char>(file, begin);
  return file.substr(begin, file.find('\0', begin) - begin);
}

Kernel kernel_of(const std::string& file, const Elf64_Shdr& section, const std::string& name) {
  Kernel kernel;
  kernel.name = demangled(name);
  kernel.instructions = static_cast<std::int64_t>(section.sh_size / 16);
  for (std::uint64_t i = 0; i + 16 <= section.sh_size; i += 16) {
    const auto low = at<std::uint64_t>(file, section.sh_offset + i);
    const auto high = at<std::uint64_t>(file, section.sh_offset + i + 8);
    const auto kind = static_cast<Kind>(low & 0xfff);
    kernel.uses[{kind, has_width(kind) ? static_cast<unsigned>(high >> 9 & 7) : 0u}] += 1;
  }
  return kernel;
}

/// What follows "Compiling entry function 'name'" in the log, until the next one.
std::string report_of(std::string_view log, const std::string& name) {
  const std::size_t begin = log.find("Compiling entry function '" + name + "'");
  if (begin == std::string_view::npos)
    throw std::runtime_error("the log of ptxas does not name " + name);
  return std::string(log.substr(begin, log.find("Compiling entry function", begin + 1) - begin));
}

std::int64_t number(const std::string& report, const char* pattern) {
  std::smatch found;
  if (!std::regex_search(report, found, std::regex(pattern)))
    throw std::runtime_error(std::string("the log of ptxas does not tell ") + pattern);
  return std::stoll(found[1]);
}

}  // namespace

std::int64_t Kernel::count(Kind kind, int bits) const {
  std::int64_t sum = 0;
  for (const auto& [use, times] : uses) {
    const int width = use.second < 4 ? 8 << use.second / 2 : 8 << (use.second - 2);
    if (use.first == kind && (bits == 0 || width == bits)) sum += times;
  }
  return sum;
}

std::vector<Kernel> read(const std::string& cubin, std::string_view log) {
  const auto header = at<Elf64_Ehdr>(cubin, 0);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
    throw std::runtime_error("a cubin is an ELF file, this is none");
  const auto section = [&](unsigned i) {
    return at<Elf64_Shdr>(cubin, header.e_shoff + std::uint64_t{i} * sizeof(Elf64_Shdr));
  };
  const Elf64_Shdr names = section(header.e_shstrndx);
  std::map<std::string, Elf64_Shdr> sections;
  for (unsigned i = 0; i < header.e_shnum; ++i)
    sections.emplace(name_at(cubin, names, section(i).sh_name), section(i));
  std::map<std::string, int> registers;
  if (sections.contains(".nv.info") && sections.contains(".symtab")) {
    const Elf64_Shdr symbols = sections[".symtab"], texts = section(symbols.sh_link);
    for (const auto& [symbol, count] : registers_of(cubin, sections[".nv.info"])) {
      const auto it =
          at<Elf64_Sym>(cubin, symbols.sh_offset + std::uint64_t{symbol} * sizeof(Elf64_Sym));
      registers[name_at(cubin, texts, it.st_name)] = count;
    }
  }
  std::vector<Kernel> kernels;
  for (const auto& [name, one] : sections) {
    if (!name.starts_with(text_prefix)) continue;
    const std::string mangled = name.substr(text_prefix.size());
    Kernel kernel = kernel_of(cubin, one, mangled);
    kernel.registers = registers[mangled];
    const auto shared = sections.find(".nv.shared." + mangled);
    if (shared != sections.end()) kernel.shared = static_cast<std::int64_t>(shared->second.sh_size);
    if (!log.empty()) {
      const std::string report = report_of(log, mangled);
      kernel.stack = number(report, "([0-9]+) bytes stack frame");
      kernel.spills = number(report, "([0-9]+) bytes spill stores") +
                      number(report, "([0-9]+) bytes spill loads");
    }
    kernels.push_back(std::move(kernel));
  }
  return kernels;
}

std::vector<Kernel> compiled(std::span<const CudaText> texts, const std::string& processor) {
  std::string code;
  try {
    code = compile_cubin(nvrtc(), {.text = cuda_program(texts), .processor = processor});
  } catch (const CudaTextError&) {
    throw;
  } catch (const DeviceError& error) {
    BOOST_TEST_MESSAGE("skipped: " << error.what());
    return {};
  }
  const std::vector<Kernel> found = read(code);
  std::vector<Kernel> kernels;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::string name = "kernel" + std::to_string(i) + "_";
    const auto kernel = std::ranges::find(found, name, &Kernel::name);
    if (kernel == found.end()) throw std::runtime_error("the cubin has no " + name);
    kernels.push_back(*kernel);
  }
  return kernels;
}

}  // namespace blockgrad::cubin
