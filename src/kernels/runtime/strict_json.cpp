// See strict_json.hpp.
#include "kernels/runtime/strict_json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>

#include "kernels/runtime/error.hpp"

namespace fovea::strict_json {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr int most_depth = 16;
constexpr std::size_t most_text = std::size_t{1} << 16;

}  // namespace

void fail_file(const std::string& path, const std::string& what) {
  fail(fmt::format("{} is not usable: {}", path, what));
}

json parse(const std::string& text, const std::string& path) {
  // The parser takes a zero byte for the end of the text.
  if (text.find('\0') != std::string::npos) fail_file(path, "it holds a zero byte");
  std::vector<std::set<std::string>> keys;
  const auto look = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > most_depth) fail_file(path, fmt::format("it is nested deeper than {}", most_depth));
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second) {
      fail_file(path, fmt::format("key '{}' is in an object twice", parsed.get<std::string>()));
    }
    return true;
  };
  try {
    return json::parse(text, look);
  } catch (const json::parse_error& error) {
    fail_file(path, fmt::format("it is no valid JSON (byte {} of {})", std::min(error.byte, text.size()),
                                text.size()));
  } catch (const json::exception&) {
    fail_file(path, "it is no valid JSON (a number is too large)");
  }
}

json read(const std::string& path, std::size_t most_bytes) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) fail_file(path, "it is not a file");
  const std::uintmax_t size = fs::file_size(path, error);
  if (error) fail_file(path, error.message());
  if (size > most_bytes)
    fail_file(path, fmt::format("it has {} bytes, over the cap of {}", size, most_bytes));
  std::ifstream file(path, std::ios::binary);
  std::string text(size, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(size))) fail_file(path, "it cannot be read");
  return parse(text, path);
}

Object::Object(const json& value, std::string where, const std::string& path)
    : value_(value), where_(std::move(where)), path_(path) {
  if (!value.is_object()) fail_file(path_, fmt::format("{} is no object", where_));
}

void Object::bad(const char* key, const char* what) const {
  fail_file(path_, fmt::format("'{}' of {} {}", key, where_, what));
}

const json& Object::at(const char* key) const {
  const auto it = value_.find(key);
  if (it == value_.end()) bad(key, "is missing");
  return *it;
}

bool Object::has(const char* key) const { return value_.contains(key); }

std::string Object::text(const char* key) const {
  const json& v = at(key);
  if (!v.is_string()) bad(key, "is no text");
  const auto text = v.get<std::string>();
  if (text.size() > most_text) bad(key, "is too long");
  return text;
}

std::string Object::text_or(const char* key, const std::string& otherwise) const {
  return has(key) ? text(key) : otherwise;
}

double Object::number(const char* key) const {
  const json& v = at(key);
  if (!v.is_number()) bad(key, "is no number");
  const auto number = v.get<double>();
  if (!std::isfinite(number) || number < 0) bad(key, "is no number of at least 0");
  return number;
}

std::int64_t Object::integer(const char* key) const {
  const json& v = at(key);
  if (!v.is_number_integer() || (v.is_number_unsigned() && v.get<std::uint64_t>() > INT64_MAX) ||
      v.get<std::int64_t>() < 0) {
    bad(key, "is no whole number of at least 0");
  }
  return v.get<std::int64_t>();
}

bool Object::flag(const char* key) const {
  const json& v = at(key);
  if (!v.is_boolean()) bad(key, "is neither true nor false");
  return v.get<bool>();
}

const json& Object::array(const char* key) const {
  const json& v = at(key);
  if (!v.is_array()) bad(key, "is no list");
  return v;
}

}  // namespace fovea::strict_json
