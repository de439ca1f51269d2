#include "support/picture.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "blockgrad/data/files.h"
#include "blockgrad/graph/error.h"
#include "support/external_program.h"
#include "support/number.h"

namespace examples {

namespace {

namespace fs = std::filesystem;

/// Text in the single quotes of a gnuplot script.
std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'') result += '\'';
    result += c == '\n' ? ' ' : c;
  }
  return result + "'";
}

/// Text as a CSV cell.
std::string cell(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"') result += '"';
    result += c;
  }
  return result + "\"";
}

using Axis = std::vector<double> Curve::*;

bool any_above_zero(const Curve& curve, Axis axis) {
  const std::vector<double>& values = curve.*axis;
  return std::any_of(values.begin(), values.end(), [](double value) { return value > 0; });
}

bool any_above_zero(const std::vector<Curve>& curves, Axis axis) {
  return std::any_of(curves.begin(), curves.end(),
                     [&](const Curve& curve) { return any_above_zero(curve, axis); });
}

std::string points(const Plot& plot) {
  std::string text = "curve,x,y\n";
  for (const Curve& curve : plot.curves) {
    for (std::size_t i = 0; i < curve.x.size(); ++i) {
      text += cell(curve.name) + "," + number(curve.x[i], 17) + "," + number(curve.y[i], 17) + "\n";
    }
  }
  return text;
}

std::string script(const Plot& plot, const std::string& csv, const std::string& svg) {
  const bool log_x = plot.log_x && any_above_zero(plot.curves, &Curve::x);
  const bool log_y = plot.log_y && any_above_zero(plot.curves, &Curve::y);
  std::string text = "if (!exists('picture')) picture = " + quoted(svg) + "\n";
  text += "set terminal svg noenhanced size 900,540 font 'sans,14' background '#ffffff'\n";
  text += "set output picture\n";
  text += "set datafile separator ','\n";
  text += "set title " + quoted(plot.title) + "\n";
  text += "set xlabel " + quoted(plot.x_label) + "\nset ylabel " + quoted(plot.y_label) + "\n";
  text += "set grid linecolor '#dddddd'\nset key top right\nunset mytics\nset format y '%g'\n";
  if (log_x) text += "set logscale x\n";
  if (log_y) text += "set logscale y\nset format y '%.0e'\n";
  const char* const colours[] = {"#d95f02", "#1b9e77", "#7570b3", "#e7298a", "#66a61e"};
  std::string parts;
  std::size_t row = 0;  // below the heads
  for (std::size_t c = 0; c < plot.curves.size(); ++c) {
    const Curve& curve = plot.curves[c];
    const std::string name = quoted(curve.name);
    // gnuplot takes a curve without a point for a mistake; such a one is only named.
    const bool has_points = !curve.x.empty() && (!log_x || any_above_zero(curve, &Curve::x)) &&
                            (!log_y || any_above_zero(curve, &Curve::y));
    parts += c == 0 ? "plot " : ", \\\n     ";
    const std::string first = std::to_string(row);
    row += curve.x.size();
    const std::string rows = " skip 1 every ::" + first + "::" + std::to_string(row - 1);
    parts += has_points ? quoted(csv) + rows + " using 2:3" : "keyentry";
    parts += " with linespoints pointtype 7 pointsize 0.3 linewidth 2 linecolor '";
    parts += colours[c % 5];
    parts += "' title " + name;
  }
  return text + parts + "\n";
}

/// Calls `program` so that the picture appears under its name only when it is complete.
void draw_into(const std::string& svg_path, const std::string& program,
               const std::vector<std::string>& arguments, const std::string& temporary) {
  const fs::path folder = fs::absolute(svg_path).parent_path();
  const fs::path unfinished = folder / temporary;
  std::error_code ignored;
  try {
    run_program(program, arguments, folder);
    std::error_code reason;
    fs::rename(unfinished, fs::absolute(svg_path), reason);
    blockgrad::require(!reason, "cannot write ", svg_path, ": ", reason.message());
  } catch (...) {
    fs::remove(unfinished, ignored);
    throw;
  }
}

std::string file_name(const std::string& path) { return fs::path(path).filename().string(); }

std::string temporary_name(const std::string& svg_path) {
  std::string name = ".";
  name += file_name(svg_path);
  return name + "." + std::to_string(::getpid()) + ".tmp";
}

Picture without(const char* program, const char* package, const std::string& svg_path,
                Picture picture) {
  picture.note = std::string(program) + " is not installed (package " + package + "), so " +
                 svg_path + " was not drawn";
  return picture;
}

}  // namespace

std::string beside(const std::string& svg_path, const std::string& ending) {
  const fs::path path(svg_path);
  return (path.extension() == ".svg" ? path.parent_path() / path.stem() : path).string() + ending;
}

std::vector<std::string> plot_files(const std::string& svg_path) {
  return {svg_path, beside(svg_path, "_curves.csv"), beside(svg_path, "_curves.gnuplot")};
}

std::vector<std::string> graph_files(const std::string& svg_path) {
  return {svg_path, beside(svg_path, ".dot")};
}

Picture draw(const Plot& plot, const std::string& svg_path) {
  const std::vector<std::string> files = plot_files(svg_path);
  const std::string &csv = files[1], &gnuplot = files[2];
  blockgrad::data::write_text_file(csv, points(plot));
  blockgrad::data::write_text_file(gnuplot, script(plot, file_name(csv), file_name(svg_path)));
  const std::string program = find_program("gnuplot");
  if (program.empty()) return without("gnuplot", "gnuplot-nox", svg_path, {{csv, gnuplot}, ""});
  const std::string temporary = temporary_name(svg_path);
  draw_into(svg_path, program, {"-e", "picture = " + quoted(temporary), "./" + file_name(gnuplot)},
            temporary);
  return {files, ""};
}

Picture draw_graph(const std::string& dot_text, const std::string& svg_path) {
  const std::vector<std::string> files = graph_files(svg_path);
  const std::string& dot = files[1];
  blockgrad::data::write_text_file(dot, dot_text);
  const std::string program = find_program("dot");
  if (program.empty()) return without("dot", "graphviz", svg_path, {{dot}, ""});
  const std::string temporary = temporary_name(svg_path);
  draw_into(svg_path, program, {"-Tsvg", "-o" + temporary, "./" + file_name(dot)}, temporary);
  return {files, ""};
}

}  // namespace examples
