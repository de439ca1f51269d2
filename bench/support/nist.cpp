#include "support/nist.h"

#include <blockgrad/graph/error.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string_view>
#include <utility>

namespace bench {

namespace {

using blockgrad::require;

class NistFile {
 public:
  explicit NistFile(const std::string& path) : path_(path) {
    std::ifstream in(path);
    require(in.is_open(), path, ": cannot open it");
    for (std::string line; std::getline(in, line);) lines_.push_back(line);
  }

  std::size_t size() const { return lines_.size(); }
  const std::string& path() const { return path_; }

  /// Blank-separated words of line `number`, counted from 1.
  std::vector<std::string> words(std::size_t number) const {
    require(number >= 1 && number <= lines_.size(), path_, ": expected a line ", number,
            ", the file has ", lines_.size());
    std::istringstream line(lines_[number - 1]);
    std::vector<std::string> words;
    for (std::string word; line >> word;) words.push_back(word);
    return words;
  }

  double number(std::size_t line, std::string_view text) const {
    double value = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
    require(read.ec == std::errc() && read.ptr == text.data() + text.size() && std::isfinite(value),
            path_, ":", line, ": expected a number, got '", text, "'");
    return value;
  }

  /// The two numbers of "Certified Values  (lines 31 to 51)" or "Data (lines 61 to 76)" in the head
  /// of the file.
  std::pair<std::size_t, std::size_t> lines_of(std::string_view what) const {
    for (std::size_t i = 0; i < std::min<std::size_t>(lines_.size(), 10); ++i) {
      const std::string& line = lines_[i];
      const auto at = line.find("(lines ");
      if (at == std::string::npos || line.find(what) == std::string::npos) continue;
      std::istringstream rest(line.substr(at + 7));
      std::size_t first = 0, last = 0;
      std::string to;
      require(rest >> first >> to >> last && to == "to" && 1 <= first && first <= last &&
                  last <= lines_.size(),
              path_, ":", i + 1, ": expected a range of lines of the file, got '", line, "'");
      return {first, last};
    }
    blockgrad::fail({path_, ": expected the lines of ", what, " in the head of the file"});
  }

 private:
  std::string path_;
  std::vector<std::string> lines_;
};

// Lines "B0  estimate  deviation", then "Standard Deviation  value" of the residual.
void read_certified(const NistFile& file, NistSet& set) {
  const auto [first, last] = file.lines_of("Certified Values");
  bool has_residual = false;
  for (std::size_t i = first; i <= last; ++i) {
    const auto words = file.words(i);
    if (words.size() == 3 && words[0].size() >= 2 && words[0][0] == 'B' && words[0][1] >= '0' &&
        words[0][1] <= '9')
      set.parameters.push_back({words[0], file.number(i, words[1]), file.number(i, words[2])});
    if (words.size() == 3 && words[0] == "Standard" && words[1] == "Deviation" && !has_residual) {
      set.residual_deviation = file.number(i, words[2]);
      has_residual = true;
    }
  }
  require(!set.parameters.empty() && has_residual, file.path(),
          ": expected certified values in lines ", first, " to ", last);
  set.has_intercept = set.parameters[0].name == "B0";
}

void read_data(const NistFile& file, NistSet& set) {
  const auto [first, last] = file.lines_of("Data ");
  for (std::size_t i = first; i <= last; ++i) {
    const auto words = file.words(i);
    require(words.size() >= 2, file.path(), ":", i, ": expected y and x, got ", words.size(),
            " numbers");
    if (i == first) set.x.resize(words.size() - 1);
    require(words.size() == set.x.size() + 1, file.path(), ":", i, ": expected ", set.x.size() + 1,
            " numbers, got ", words.size());
    set.y.push_back(file.number(i, words[0]));
    for (std::size_t j = 0; j < set.x.size(); ++j) set.x[j].push_back(file.number(i, words[j + 1]));
  }
}

void make_columns(const NistFile& file, NistSet& set) {
  const std::size_t wanted = set.parameters.size() - (set.has_intercept ? 1 : 0);
  set.columns = set.x;
  if (set.x.size() == 1) {
    while (set.columns.size() < wanted) {
      std::vector<double> power = set.columns.back();
      for (std::size_t i = 0; i < power.size(); ++i) power[i] *= set.x[0][i];
      set.columns.push_back(std::move(power));
    }
  }
  require(set.columns.size() == wanted, file.path(), ": ", wanted, " coefficients for ",
          set.x.size(), " predictors");
}

}  // namespace

NistSet read_nist(const std::string& path) {
  const NistFile file(path);
  NistSet set;
  const auto title = file.words(2);
  require(title.size() >= 3 && title[0] == "Dataset" && title[1] == "Name:", path,
          ":2: expected 'Dataset Name:'");
  set.name = title[2];
  read_certified(file, set);
  read_data(file, set);
  make_columns(file, set);
  return set;
}

double correct_digits(double estimate, double certified) {
  const double error = std::abs(estimate - certified) / (certified == 0 ? 1 : std::abs(certified));
  if (!(error < 1)) return 0;
  return error == 0 ? 15 : std::min(15.0, -std::log10(error));
}

}  // namespace bench
