// The synthetic set: who gets which severity, what follows from it, and the files.
//
// A visual field is a healthy hill of vision, lowered along the nerve-fibre bundles: an arcuate band that
// leaves the blind spot, bends around fixation and ends at the nasal raphe, and a nasal step beside that
// raphe. One half of the field is hit first. Test-retest noise grows with the loss, as Henson et al. (2000)
// measured.
#include "data/synthetic.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>
#include <vector>

#include "data/image.hpp"
#include "data/rng.hpp"
#include "data/synthetic_draw.hpp"
#include "data/visual_field.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using synthetic::Draws;

constexpr int grades = 3;
constexpr float copy_noise = 0.09F;
constexpr const char* marker = "SYNTHETIC.txt";

// Streams of one eye or subject. A number once given keeps its meaning: changing it changes every set.
enum Part : std::uint32_t { order, severity, person, photograph, field, absence, volume, first_scan = 100 };

struct Patient {
  int grade = 0, fold = 0;
};

struct EyeRecord {
  std::string id, subject;
  int index = 0, subject_index = 0;
  bool left = false;
  Patient patient;
  float fundus_sign = 0, oct_sign = 0, field_sign = 0;  // noisy copies of the severity
  bool has_oct = true, has_field = true;
};

void check_options(const SyntheticOptions& options) {
  const auto require = [](bool right, const std::string& message) {
    if (!right) fail_usage(message);
  };
  require(options.count >= 1 && options.count <= 100'000,
          fmt::format("a synthetic set has 1 to 100000 eyes, not {}", options.count));
  require(options.image_size >= 32 && options.image_size <= 2048,
          fmt::format("synthetic images have 32 to 2048 pixels to a side, not {}", options.image_size));
  require(options.missing >= 0 && options.missing <= 1,
          fmt::format("the probability of a missing modality lies in 0..1, not {}", options.missing));
  require(options.oct_slices >= 1 && options.oct_slices <= 256,
          fmt::format("a synthetic volume has 1 to 256 slices, not {}", options.oct_slices));
}

// Grades in turn over shuffled subjects; folds in turn within a grade.
std::vector<Patient> draw_patients(int subjects, std::uint64_t seed) {
  std::vector<int> shuffled(subjects);
  for (int i = 0; i < subjects; ++i) shuffled[i] = i;
  PhiloxStream(seed, Purpose::synthetic, 0, Part::order).shuffle(shuffled);
  const int folds = std::clamp(subjects / grades, 1, 5);
  std::vector<Patient> patients(subjects);
  for (int i = 0; i < subjects; ++i)
    patients[shuffled[i]] = {.grade = i % grades, .fold = i / grades % folds};
  return patients;
}

EyeRecord draw_eye(int index, const std::vector<Patient>& patients, const SyntheticOptions& options) {
  EyeRecord eye;
  eye.index = index;
  eye.subject_index = index / 2;
  eye.left = index % 2 == 1;
  eye.subject = fmt::format("{:04}", eye.subject_index + 1);
  eye.id = fmt::format("{}_{}", eye.subject, eye.left ? "OS" : "OD");
  eye.patient = patients[eye.subject_index];

  Draws draws(options.seed, index, Part::severity);
  const float low = 0.4F * static_cast<float>(eye.patient.grade);
  const float truth = draws.uniform(low, low + 0.2F);
  for (float* sign : {&eye.fundus_sign, &eye.oct_sign, &eye.field_sign})
    *sign = truth + draws.normal(0, copy_noise);

  Draws absence(options.seed, index, Part::absence);
  if (absence.uniform() < options.missing) (absence.below(2) == 0 ? eye.has_oct : eye.has_field) = false;
  return eye;
}

// Points of 24-2 in reading order: columns are 6 degrees apart, rows too.
struct FieldPoint {
  float x, y;
};

std::vector<FieldPoint> points_of_field() {
  constexpr std::array<std::array<int, 2>, 8> rows{
      {{-9, 4}, {-15, 6}, {-21, 8}, {-27, 9}, {-27, 9}, {-21, 8}, {-15, 6}, {-9, 4}}};
  std::vector<FieldPoint> points;
  for (int r = 0; r < 8; ++r) {
    for (int i = 0; i < rows[r][1]; ++i)
      points.push_back({static_cast<float>(rows[r][0] + 6 * i), static_cast<float>(21 - 6 * r)});
  }
  return points;
}

// How far a point belongs to the arcuate band and the nasal step of its half, 0..1.
float bundle(FieldPoint p) {
  const float around = std::hypot((p.x + 3) / 18, p.y / 12);
  const float arcuate = p.x < 14 ? std::exp(-std::pow((around - 1) / 0.42F, 2.0F)) : 0.25F;
  const float nasal = std::exp(-std::pow((p.x + 24) / 9, 2.0F) - std::pow(p.y / 12, 2.0F));
  return std::min(1.0F, arcuate + nasal);
}

std::vector<std::string> draw_field(const EyeRecord& eye, std::uint64_t seed) {
  Draws draws(seed, eye.index, Part::field);
  const bool upper_first = draws.uniform() < 0.6F;
  const float height = draws.normal(31.5F, 0.8F), depth = draws.uniform(27, 33);
  std::vector<std::string> cells;
  for (const FieldPoint p : points_of_field()) {
    const float t = std::max(0.0F, eye.field_sign);
    const bool first = (p.y > 0) == upper_first;
    const float share = first ? std::min(1.0F, 1.25F * t) : std::max(0.0F, 1.5F * t - 0.6F);
    const float healthy = height - 0.12F * std::hypot(p.x, p.y) - (p.y > 0 ? 0.8F : 0.0F);
    const float loss = depth * std::min(1.0F, share) * bundle(p);
    const float seen = healthy - loss + draws.normal(0, 1.1F + 0.13F * std::min(loss, 18.0F));
    const bool blind_spot = p.x == 15 && std::abs(p.y) == 3;
    cells.push_back(blind_spot ? ""
                               : fmt::format("{}", std::clamp(static_cast<int>(std::lround(seen)), 0, 40)));
  }
  return cells;
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail(fmt::format("cannot make the folder `{}`: {}", folder.string(), error.message()));
}

void write_text(const fs::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) fail(fmt::format("cannot write `{}`", path.string()));
}

// Whether the text is some digits (at least `least`) and then `rest`.
bool is_numbered(std::string_view text, std::size_t least, std::string_view rest) {
  const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
  return digits >= least && text.substr(digits) == rest;
}

bool is_ours(const fs::path& relative) {
  const std::vector<std::string> parts(relative.begin(), relative.end());
  const auto is_id = [](std::string_view name, std::string_view ending) {
    return is_numbered(name, 4, fmt::format("_OD{}", ending)) ||
           is_numbered(name, 4, fmt::format("_OS{}", ending));
  };
  if (parts.size() == 1) {
    return parts[0] == marker || parts[0] == "labels.csv" || parts[0] == "fundus" || parts[0] == "oct";
  }
  if (parts[0] == "fundus") return parts.size() == 2 && is_id(parts[1], ".jpg");
  if (parts[0] != "oct" || !is_id(parts[1], "")) return false;
  return parts.size() == 2 || (parts.size() == 3 && is_numbered(parts[2], 1, "_image.png"));
}

// Leaves the folder empty: its files are an earlier set's, every one of them, or nothing is touched.
void clear_folder(const fs::path& folder) {
  if (!fs::exists(folder)) return;
  if (!fs::is_directory(folder)) fail(fmt::format("`{}` is a file; name a folder", folder.string()));
  if (fs::is_empty(folder)) return;
  if (!fs::is_regular_file(folder / marker)) {
    fail(fmt::format("`{}` is not empty and no synthetic set; name another folder", folder.string()));
  }
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const fs::path name = entry.path().lexically_relative(folder);
    if (!is_ours(name)) {
      fail(fmt::format(
          "`{}` holds `{}`, which is no part of a synthetic set; move it away or name another folder",
          folder.string(), name.string()));
    }
    files.push_back(entry.path());
  }
  // Deepest first; the marker last, so that a clearing cut short can be done again.
  std::ranges::reverse(files);
  for (const auto& path : files) {
    if (path.filename() != marker) fs::remove(path);
  }
  fs::remove(folder / marker);
}

float cup_to_disc(const EyeRecord& eye) { return std::clamp(0.25F + 0.6F * eye.fundus_sign, 0.12F, 0.94F); }

void draw_images(const EyeRecord& eye, const fs::path& folder, const SyntheticOptions& options) {
  write_jpeg((folder / "fundus" / (eye.id + ".jpg")).string(),
             synthetic::draw_fundus(cup_to_disc(eye), eye.left, options.image_size,
                                    Draws(options.seed, eye.subject_index, Part::person),
                                    Draws(options.seed, eye.index, Part::photograph)));
  if (!eye.has_oct) return;
  make_folder(folder / "oct" / eye.id);
  const float nerve_fibre = std::clamp(1 - 0.75F * eye.oct_sign, 0.08F, 1.3F);
  for (int i = 0; i < options.oct_slices; ++i) {
    const float offset = (2.0F * static_cast<float>(i) + 1) / static_cast<float>(options.oct_slices) - 1;
    write_png((folder / "oct" / eye.id / fmt::format("{}_image.png", i)).string(),
              synthetic::draw_b_scan(nerve_fibre, offset, eye.left, options.image_size,
                                     Draws(options.seed, eye.index, Part::volume),
                                     Draws(options.seed, eye.index, Part::first_scan + i)));
  }
}

std::string header_line() {
  std::string line = "id,subject,eye,fold,label,fundus,disc_x,disc_y,disc_width,disc_height,oct";
  for (int i = 1; i <= points_24_2; ++i) line += fmt::format(",l{}", i);
  return line + "\n";
}

std::string manifest_line(const EyeRecord& eye, const SyntheticOptions& options) {
  const std::uint64_t seed = options.seed;
  const Box disc = synthetic::disc_box(cup_to_disc(eye), eye.left, options.image_size,
                                       Draws(seed, eye.subject_index, Part::person),
                                       Draws(seed, eye.index, Part::photograph));
  std::string line = fmt::format("{},{},{},{},{},fundus/{}.jpg,{},{},{},{},{}", eye.id, eye.subject,
                                 eye.left ? "OS" : "OD", eye.patient.fold, eye.patient.grade, eye.id, disc.x,
                                 disc.y, disc.width, disc.height, eye.has_oct ? "oct/" + eye.id : "");
  if (!eye.has_field) return line + std::string(points_24_2, ',') + "\n";
  for (const std::string& cell : draw_field(eye, seed)) line += "," + cell;
  return line + "\n";
}

}  // namespace

void write_synthetic(const std::string& folder_name, const SyntheticOptions& options) {
  check_options(options);
  const fs::path folder(folder_name);
  try {
    clear_folder(folder);
  } catch (const fs::filesystem_error& error) {
    fail(fmt::format("cannot empty the folder `{}`: {}", folder_name, error.code().message()));
  }
  make_folder(folder / "fundus");
  make_folder(folder / "oct");
  write_text(folder / marker, fmt::format("Made-up eyes, not patients: written by `fovea data synth` (eyes "
                                          "{}, image size {}, seed {}, missing {}, "
                                          "OCT slices {}).\n",
                                          options.count, options.image_size, options.seed, options.missing,
                                          options.oct_slices));

  const auto patients = draw_patients((options.count + 1) / 2, options.seed);
  std::string manifest = header_line();
  for (int i = 0; i < options.count; ++i) {
    const EyeRecord eye = draw_eye(i, patients, options);
    draw_images(eye, folder, options);
    manifest += manifest_line(eye, options);
  }
  // Last, so that a set cut short cannot be opened.
  write_text(folder / "labels.csv", manifest);
}

}  // namespace fovea
