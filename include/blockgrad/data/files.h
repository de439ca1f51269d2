#pragma once
// Writing whole files so that a reader sees the old content or the new one, never a mix.

#include <string>
#include <string_view>

namespace blockgrad::data {

/// Replaces the content of `path` by `text`: a temporary file in the same folder is written, synced
/// to the disk and renamed. An existing file keeps its permissions. Throws Error naming the file,
/// what failed and why; the old file is then as it was and the temporary file is gone. Refuses to
/// replace what is not a regular file.
void write_text_file(const std::string& path, std::string_view text);

}  // namespace blockgrad::data
