// OCT volumes: which files are slices, their order, and which are picked.
#include "data/oct.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;

class Folder {
 public:
  explicit Folder(const std::vector<std::string>& files) {
    static int made = 0;
    path_ = fs::temp_directory_path() / fmt::format("fovea-oct-{}-{}", getpid(), made++);
    fs::create_directories(path_);
    for (const auto& file : files) std::ofstream(path_ / file) << "x";
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string path() const { return path_.string(); }
  std::vector<std::string> names() const {
    std::vector<std::string> result;
    for (const auto& path : list_slices(this->path())) result.push_back(fs::path(path).filename().string());
    return result;
  }

 private:
  fs::path path_;
};

TEST(ListSlices, SortsByNumber) {
  std::vector<std::string> expected;
  for (int i = 0; i < 256; ++i) expected.push_back(fmt::format("{}_image.jpg", i));
  EXPECT_EQ(Folder(expected).names(), expected);
}

TEST(ListSlices, TakesOtherNamesGapsAndEndings) {
  const Folder folder(
      {"scan2_010.PNG", "scan2_002.jpeg", "scan2_1.png", ".7_image.jpg", "notes 3.txt", "Thumbs.db"});
  fs::create_directory(fs::path(folder.path()) / "5.png");
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"scan2_1.png", "scan2_002.jpeg", "scan2_010.PNG"}));
}

TEST(ListSlices, RefusesWhatIsNoVolume) {
  EXPECT_THROW(list_slices("/nonexistent/volume"), Error);
  EXPECT_THROW(Folder({}).names(), Error);
  EXPECT_THROW(Folder({"readme.txt"}).names(), Error);
  EXPECT_THROW(Folder({"1_image.jpg", "overview.jpg"}).names(), Error);
  EXPECT_THROW(Folder({"1_image.jpg", "01_image.jpg"}).names(), Error);
  EXPECT_THROW(Folder({"1_image.jpg", "1_image.png"}).names(), Error);
  EXPECT_THROW(Folder({"99999999999999999999999_image.jpg"}).names(), Error);
}

TEST(PickSlices, TakesTheCentresOfEqualParts) {
  struct Case {
    int n, k;
    std::vector<int> picked;
  };
  for (const Case& c : {Case{256, 3, {42, 128, 213}},
                        {256, 1, {128}},
                        {6, 3, {1, 3, 5}},
                        {3, 3, {0, 1, 2}},
                        {1, 3, {0, 0, 0}},
                        {2, 3, {0, 1, 1}},
                        {5, 2, {1, 3}}}) {
    std::vector<std::string> paths, expected;
    for (int i = 0; i < c.n; ++i) paths.push_back(std::to_string(i));
    for (const int i : c.picked) expected.push_back(std::to_string(i));
    EXPECT_EQ(pick_slices(paths, c.k), expected) << c.n << " " << c.k;
  }
  EXPECT_THROW(pick_slices({}, 3), Error);
  EXPECT_THROW(pick_slices({"a"}, 0), Error);
}

}  // namespace
}  // namespace fovea
