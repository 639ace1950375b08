// Loading a library by hand; what that answered, and what the answer means for a user, which are pure functions.
#pragma once

#include <string>

namespace fovea {

struct LibraryAnswer {
  std::string name;  // "cuDNN"
  std::string file;  // "libcudnn.so.9"
  int needed = 0;    // the oldest version that will do, as cuDNN counts: 90800 is 9.8.0
  bool loaded = false;
  std::string failure;  // the loader's own words
  int version = 0;
};

/// Loads `answer.file` from where the loader looks, else from the folder. Null where it is in neither, with the loader's
/// first complaint in the answer.
void* load_library(LibraryAnswer& answer, const std::string& folder);

/// The functions of a loaded library, by name; of one that is not loaded none.
class LibraryFunctions {
 public:
  explicit LibraryFunctions(void* handle) : handle_(handle) {}
  template <class Function>
  void find(const char* name, Function*& function) {
    function = reinterpret_cast<Function*>(address_of(name));
    complete_ = complete_ && function != nullptr;
  }
  /// Whether all were there that were looked for.
  bool complete() const { return complete_; }

 private:
  void* address_of(const char* name) const;
  void* handle_;
  bool complete_ = true;
};

/// Empty where the library can be used, else one sentence.
std::string sentence_of(const LibraryAnswer& answer);

/// Why no engine takes a graph, from cuDNN's own message, a stack of warnings for each engine configuration that it tried:
/// "eng2: getDataType() != CUDNN_DATA_HALF; eng3: ...": the innermost reason of each engine, each once. The whole message's
/// first line where it is of another form.
std::string refusal_of(const std::string& message);

/// "9.8.0"
std::string version_text(int version);

}  // namespace fovea
