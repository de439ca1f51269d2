#include <fmt/format.h>

#include "blockgrad/graph/leaf.h"
#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"
#include "graph/graph.h"

namespace blockgrad {

namespace {

std::string value_name(Value v) {
  return v.result == 0 ? fmt::format("%{}", v.node) : fmt::format("%{}.{}", v.node, v.result);
}

std::string first_line(std::string text) {
  for (char& c : text) {
    if (c == '\n') c = ';';
  }
  if (!text.empty() && text.back() == ';') text.pop_back();
  return text;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

// Colour and shape tell what a node is at a glance.
std::string style(const GraphNode& node) {
  if (node.op.as<Input>()) return "shape=box, style=\"filled,rounded\", fillcolor=\"#cfe8ff\"";
  if (const auto* leaf = node.op.as<StoredLeaf>()) {
    return leaf->trainable ? "shape=cylinder, fillcolor=\"#ffd9a8\""
                           : "shape=cylinder, fillcolor=\"#eeeeee\"";
  }
  if (node.op.as<Constant>()) return "shape=plaintext, fillcolor=\"#ffffff\"";
  if (node.origin.role == gradient_role) return "shape=box, fillcolor=\"#f3d6f5\"";
  return "shape=box, fillcolor=\"#d8f5d0\"";
}

}  // namespace

std::string to_text(const Graph& graph) {
  std::string text;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const GraphNode& node = graph.nodes[i];
    text += fmt::format("%{} = {}", i, node.op->name());
    for (const Value v : node.inputs) text += " " + value_name(v);
    text += " :";
    for (const TensorType& type : node.types) text += " " + to_string(type);
    if (const std::string attributes = node.op->print(); !attributes.empty()) {
      text += fmt::format(" {{{}}}", first_line(attributes));
    }
    text += fmt::format("  ({})\n", to_string(node.origin.where));
  }
  for (const Value v : graph.outputs) text += "output " + value_name(v) + "\n";
  for (const GraphUpdate& u : graph.updates) {
    text += "update " + value_name(u.leaf) + " <- " + value_name(u.value);
    text += u.guard ? " if " + value_name(u.guard) + "\n" : "\n";
  }
  return text;
}

std::string to_dot(const Graph& graph) {
  std::string text =
      "digraph blockgrad {\n  rankdir=TB; bgcolor=white;\n"
      "  node [style=filled, fontname=\"Helvetica\", fontsize=11]; edge [color=\"#555555\", "
      "arrowsize=0.7];\n";
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const GraphNode& node = graph.nodes[i];
    std::string label(node.op->name());
    if (is_leaf(node))
      label =
          node.op.as<Constant>() ? to_string(node.op.as<Constant>()->tensor, 4) : node.op->print();
    if (node.origin.role == gradient_role)
      label = fmt::format("{} {}", node.origin.role, node.origin.of);
    text += fmt::format("  n{} [label=\"{}\\n{}\", {}];\n", i, escaped(label),
                        to_string(node.types[0]), style(node));
    for (const Value v : node.inputs) text += fmt::format("  n{} -> n{};\n", v.node, i);
  }
  for (std::size_t o = 0; o < graph.outputs.size(); ++o) {
    text += fmt::format(
        "  out{} [label=\"output {}\", shape=plaintext, fillcolor=white];\n  n{} -> out{};\n", o, o,
        graph.outputs[o].node, o);
  }
  for (const GraphUpdate& u : graph.updates) {
    text += fmt::format(
        "  n{} -> n{} [style=dashed, color=\"#c06000\", label=\"new value\", fontsize=9];\n",
        u.value.node, u.leaf.node);
  }
  return text + "}\n";
}

}  // namespace blockgrad
