#pragma once
// Nodes as their users know them, for explain().

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "graph/row_program.h"

namespace blockgrad {

/// "1 kernel", "2 kernels".
std::string plural(std::size_t count, std::string_view noun);
/// Names once each, in order, the first few of them.
std::string joined(const std::vector<std::string>& names, std::size_t most);

bool is_copy(const GraphNode& node);
/// "gradient of matmul", "softmax.exp": an op without scope and line.
std::string op_text(std::string_view name, const Origin& origin);
std::string op_text(const GraphNode& node);
/// What the steps of a row program do, behind what it takes and before what it adds up.
std::vector<std::string> step_texts(const RowProgram& program);
/// "gradient of matmul and update of encoder.weight": an op that is made in the scope of an update.
std::string update_text(std::string_view name, const Origin& origin);
/// "model.cpp:12 encoder".
std::string place_text(const GraphNode& node);
/// "f32[3, 4] +1".
std::string types_text(const GraphNode& node);

/// The nodes of `graph` that a pass made, by their numbers among all that it made. Later passes
/// move nodes: they are known by what they do and where they come from.
std::map<std::int32_t, std::size_t> find_made(const Graph& made, const Graph& graph,
                                              bool (*is_one)(const GraphNode&));

}  // namespace blockgrad
