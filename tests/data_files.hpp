// What tests of the data room share: a folder of their own, files in it, and errors compared by what they
// say.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "data/image.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea::testing {

/// A folder that goes away with the object.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "fovea-data-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  /// The path of a file in it; its folders are made.
  std::string path(const std::string& name = "") const {
    if (name.empty()) return path_.string();
    std::filesystem::create_directories((path_ / name).parent_path());
    return (path_ / name).string();
  }

  std::string write(const std::string& name, const std::string& bytes) const {
    const std::string file = path(name);
    std::ofstream(file, std::ios::binary) << bytes;
    return file;
  }

 private:
  std::filesystem::path path_;
};

/// The message of the Error that `action` throws; a failure where it throws none.
template <typename Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "not an Error: " << error.what();
    return "";
  }
  ADD_FAILURE() << "no error";
  return "";
}

/// Checks that `action` throws an Error whose message holds all of `parts`.
template <typename Action>
void expect_error(Action action, const std::vector<std::string>& parts) {
  const std::string message = error_of(action);
  for (const std::string& part : parts)
    EXPECT_NE(message.find(part), std::string::npos) << "message: " << message << "\nwithout: " << part;
}

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A picture with edges and gradients, different for each seed.
inline Image pattern(int height, int width, int channels, int seed = 0) {
  Image image = make_image(height, width, channels);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < channels; ++c)
        image.at(y, x)[c] =
            static_cast<std::uint8_t>((x * 7 + y * 13 + c * 50 + seed * 31 + (x / 5 + y / 4) % 2 * 90) % 256);
  return image;
}

inline int largest_difference(const Image& a, const Image& b) {
  if (a.height != b.height || a.width != b.width || a.channels != b.channels ||
      a.pixels.size() != b.pixels.size())
    return 256;
  int largest = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i)
    largest = std::max(largest, std::abs(a.pixels[i] - b.pixels[i]));
  return largest;
}

}  // namespace fovea::testing
