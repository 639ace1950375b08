// The audit finds what is wrong, all of it, and nothing that is not.
#include "data/check.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/image.hpp"
#include "data/synthetic.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;

class Check : public testing::Test {
 protected:
  void SetUp() override {
    static int made = 0;
    folder_ = fs::temp_directory_path() / fmt::format("fovea-check-{}-{}", getpid(), made++);
    write_synthetic(folder_.string(),
                    {.count = 12, .image_size = 64, .seed = 8, .missing = 0, .oct_slices = 2});
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(const std::string& name = "") const { return (folder_ / name).string(); }
  DataReport check(const std::string& manifest = "labels.csv") const { return check_dataset(path(manifest)); }
  void manifest(const std::string& text) const { std::ofstream(path("m.csv")) << text; }

  fs::path folder_;
};

bool mentions(const std::vector<std::string>& lines, const std::string& what) {
  return std::ranges::any_of(lines, [&](const auto& line) { return line.find(what) != std::string::npos; });
}

TEST_F(Check, CountsASoundSet) {
  const DataReport report = check();
  EXPECT_TRUE(report.ok()) << to_text(report);
  EXPECT_EQ(report.samples, 12);
  EXPECT_EQ(report.subjects, 6);
  using Counts = DataReport::Counts;
  EXPECT_EQ(report.classes, (Counts{{"0", 4}, {"1", 4}, {"2", 4}}));
  EXPECT_EQ(report.modalities, (Counts{{"fundus", 12}, {"oct", 12}, {"vf", 12}}));
  EXPECT_EQ(report.eyes, (Counts{{"right", 6}, {"left", 6}}));
  EXPECT_EQ(report.folds, (Counts{{"0", 6}, {"1", 6}}));
  EXPECT_EQ(report.slices, (Counts{{"2", 12}}));
  EXPECT_EQ(report.field_points, (Counts{{"54", 12}}));
  ASSERT_EQ(report.images.size(), 2U);
  EXPECT_EQ(report.images[0].files, 12);
  EXPECT_EQ(report.images[1].files, 24);
  ASSERT_EQ(report.images[0].sizes.size(), 1U);
  EXPECT_EQ(report.images[0].sizes[0].width, 64);
  EXPECT_TRUE(report.near_duplicates.empty());
}

TEST_F(Check, GoesOnAfterAProblemAndListsAll) {
  std::ofstream(path("fundus/0001_OD.jpg")) << "no picture";
  fs::resize_file(path("fundus/0001_OS.jpg"), fs::file_size(path("fundus/0001_OS.jpg")) / 2);
  fs::resize_file(path("oct/0002_OD/1_image.png"), 300);
  manifest(
      "id,file,oct,label,subject,split,roi_x,roi_y,roi_w,roi_h,fovea_x,fovea_y\n"
      "a,fundus/0001_OD.jpg,,0,s1,train,,,,,,\n"
      "b,fundus/0001_OS.jpg,,1,s1,test,,,,,,\n"
      "c,fundus/0002_OD.jpg,oct/0002_OD,1,s2,train,,,,,,\n"
      "d,fundus/nowhere.jpg,,1,s3,train,,,,,,\n"
      "e,fundus/0003_OD.jpg,,7,s4,train,,,,,,\n"
      "c,fundus/0003_OS.jpg,,0,s4,train,,,,,,\n"
      "f,fundus/0004_OS.jpg,,zero,s5,train,,,,,,\n"
      "g,fundus/0005_OS.jpg,,0,s6,train,10,10,60,20,,\n"
      "h,fundus/0006_OS.jpg,,0,s7,train,,,,,9,2000\n");
  const DataReport report = check("m.csv");
  EXPECT_FALSE(report.ok());
  const std::string text = to_text(report);
  for (const std::string row : {"nowhere.jpg", "label 7", "'c'", "zero"})
    EXPECT_TRUE(mentions(report.rows, row)) << row << text;
  for (const std::string row : {"row 5", "row 6", "row 7", "row 8"})
    EXPECT_TRUE(mentions(report.rows, row)) << row << text;
  EXPECT_EQ(report.rows.size(), 4U) << text;
  for (const std::string file :
       {"0001_OD.jpg", "0001_OS.jpg", "1_image.png", "0005_OS.jpg: the box", "0006_OS.jpg: the fovea"}) {
    EXPECT_TRUE(mentions(report.unreadable, file)) << file << text;
  }
  EXPECT_EQ(report.unreadable.size(), 5U) << text;
  EXPECT_EQ(report.images.at(0).unreadable, 2);
  EXPECT_EQ(report.images.at(1).unreadable, 1);
  EXPECT_TRUE(mentions(report.leaks, "'s1'")) << text;
  EXPECT_EQ(report.leaks.size(), 1U);
  EXPECT_TRUE(mentions(report.gaps, "split test")) << text;
  EXPECT_EQ(report.gaps.size(), 1U);
  EXPECT_NE(text.find("not ok: 11 problems"), std::string::npos) << text;
}

TEST_F(Check, FindsCopiesHoweverTheyWereMade) {
  const Image original = read_image(path("fundus/0003_OD.jpg"));
  Image brighter = original;
  for (auto& p : brighter.pixels) p = static_cast<std::uint8_t>(std::min(255, p + p / 8 + 6));
  write_jpeg(path("recoded.jpg"), original, 60);
  write_png(path("smaller.png"), resize(original, 48, 50));
  write_png(path("brighter.png"), brighter);
  write_png(path("black.png"), make_image(64, 64, 3));
  write_png(path("dark.png"), make_image(64, 64, 3, 1));
  manifest(
      "file,label\nfundus/0003_OD.jpg,0\nfundus/0001_OD.jpg,0\nfundus/0003_OS.jpg,1\n"
      "recoded.jpg,1\nsmaller.png,0\nbrighter.png,0\nblack.png,0\ndark.png,0\n");
  const DataReport report = check("m.csv");
  std::vector<std::string> pairs;
  for (const auto& pair : report.near_duplicates) {
    EXPECT_GE(pair.similarity, 0.98);
    EXPECT_EQ(pair.same_label, pair.first != "recoded" && pair.second != "recoded");
    for (const auto& id : {pair.first, pair.second}) {
      EXPECT_TRUE(id == "0003_OD" || id == "recoded" || id == "smaller" || id == "brighter") << id;
    }
  }
  EXPECT_EQ(report.near_duplicates.size(), 6U) << to_text(report);
  EXPECT_TRUE(report.ok());
}

TEST_F(Check, JsonSaysTheSame) {
  std::ofstream(path("fundus/0001_OD.jpg")) << "no picture";
  const DataReport report = check();
  const auto json = nlohmann::json::parse(to_json(report));
  EXPECT_FALSE(json.at("ok").get<bool>());
  EXPECT_EQ(json.at("samples"), 12);
  EXPECT_EQ(json.at("classes").at("2"), 4);
  EXPECT_EQ(json.at("unreadable").size(), 1U);
  EXPECT_EQ(json.at("images").at("fundus").at("unreadable"), 1);
  EXPECT_EQ(json.at("images").at("oct").at("sizes").at(0).at("files"), 24);
}

TEST_F(Check, ThrowsWhereThereIsNoSet) {
  EXPECT_THROW(check_dataset(path("nowhere")), Error);
  EXPECT_THROW(check_dataset(path("fundus/0001_OD.jpg")), Error);
  manifest("id,label\na,0\n");
  EXPECT_THROW(check("m.csv"), Error);
}

TEST(CheckRealData, FindsGammasOnePair) {
  const fs::path set = fs::path(FOVEA_SOURCE_DIR) / "../shared/data/gamma_fundus";
  if (!fs::exists(set)) GTEST_SKIP() << "shared/data is not here";
  const DataReport report = check_dataset(set.string());
  EXPECT_TRUE(report.ok()) << to_text(report);
  ASSERT_EQ(report.near_duplicates.size(), 1U) << to_text(report);
  EXPECT_EQ(report.near_duplicates[0].first, "0039");
  EXPECT_EQ(report.near_duplicates[0].second, "0077");
}

}  // namespace
}  // namespace fovea
