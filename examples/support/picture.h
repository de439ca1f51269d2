#pragma once
// Pictures as SVG files, drawn by gnuplot and Graphviz; neither needs a display. What they draw
// from is written too: where the program is missing, that file is there and the note names the
// package.

#include <string>
#include <vector>

namespace examples {

struct Curve {
  std::string name;
  std::vector<double> x, y;
};

struct Plot {
  std::string title, x_label, y_label;
  bool log_x = false, log_y = false;  // only where something is above 0
  std::vector<Curve> curves;
};

struct Picture {
  std::vector<std::string> files;  // those written
  std::string note;                // why there is no SVG; "" if there is one
};

/// Writes FILE_curves.csv (curve,x,y), FILE_curves.gnuplot and, with gnuplot, FILE.svg. Each file
/// is replaced as a whole. Throws Error if one cannot be written.
Picture draw(const Plot& plot, const std::string& svg_path);

/// Writes FILE.dot with the text of a graph and, with Graphviz, FILE.svg.
Picture draw_graph(const std::string& dot_text, const std::string& svg_path);

/// All files that these two may write.
std::vector<std::string> plot_files(const std::string& svg_path);
std::vector<std::string> graph_files(const std::string& svg_path);

/// dir/name.svg -> dir/name + ending; another ending than .svg is kept.
std::string beside(const std::string& svg_path, const std::string& ending);

}  // namespace examples
