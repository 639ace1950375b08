// OCT volumes: the B-scans of a folder in order, and which of them a network sees.
#include "data/oct.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <map>
#include <system_error>

#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_picture(const fs::path& path) {
  std::string ending = path.extension().string();
  std::ranges::transform(ending, ending.begin(), [](unsigned char c) { return std::tolower(c); });
  return ending == ".jpg" || ending == ".jpeg" || ending == ".png";
}

std::uint64_t slice_number(const fs::path& path) {
  const std::string stem = path.stem().string();
  auto end = stem.size();
  while (end > 0 && !is_digit(stem[end - 1])) --end;
  auto begin = end;
  while (begin > 0 && is_digit(stem[begin - 1])) --begin;
  std::uint64_t number = 0;
  const auto result = std::from_chars(stem.data() + begin, stem.data() + end, number);
  if (begin == end || result.ec != std::errc{}) {
    fail(fmt::format("`{}` has no usable number in its name, so its place in the OCT volume is unknown",
                     path.string()));
  }
  return number;
}

}  // namespace

std::vector<std::string> list_slices(const std::string& folder) {
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  if (error) fail(fmt::format("cannot list the OCT folder `{}`: {}", folder, error.message()));

  std::map<std::uint64_t, std::string> slices;
  for (; entries != fs::directory_iterator(); entries.increment(error)) {
    const fs::path path = entries->path();
    if (path.filename().string().starts_with('.') || !is_picture(path) || !entries->is_regular_file(error))
      continue;
    const auto number = slice_number(path);
    const auto [at, is_new] = slices.emplace(number, path.string());
    if (!is_new) {
      fail(fmt::format("OCT folder `{}` has slice {} twice: `{}` and `{}`", folder, number,
                       fs::path(at->second).filename().string(), path.filename().string()));
    }
  }
  if (error) fail(fmt::format("cannot list the OCT folder `{}`: {}", folder, error.message()));
  if (slices.empty())
    fail(fmt::format("OCT folder `{}` has no B-scan (.jpg or .png named by number)", folder));

  std::vector<std::string> paths;
  for (auto& [number, path] : slices) paths.push_back(std::move(path));
  return paths;
}

std::vector<std::string> pick_slices(const std::vector<std::string>& paths, int k) {
  if (paths.empty()) fail("an OCT volume without slices has none to pick");
  if (k < 1) fail(fmt::format("cannot pick {} slices of an OCT volume; take at least 1", k));
  std::vector<std::string> picked;
  const auto n = paths.size(), parts = static_cast<std::size_t>(k);
  for (std::size_t i = 0; i < parts; ++i) picked.push_back(paths[(2 * i + 1) * n / (2 * parts)]);
  return picked;
}

}  // namespace fovea
