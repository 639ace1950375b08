// What loading a library answered, and what that means for a user: pure functions of recorded answers.
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

/// Empty where the library can be used, else one sentence.
std::string sentence_of(const LibraryAnswer& answer);

/// "9.8.0"
std::string version_text(int version);

}  // namespace fovea
