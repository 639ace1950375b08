// JSON as this project's own files hold it: read with a cap on size and depth, and no key twice in an object.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>

namespace fovea::strict_json {

/// Throws Error, "PATH is not usable: ...".
nlohmann::json read(const std::string& path, std::size_t most_bytes);
nlohmann::json parse(const std::string& text, const std::string& path);

[[noreturn]] void fail_file(const std::string& path, const std::string& what);

/// The fields of one object, each of the right kind; what is missing or of another kind is an Error.
class Object {
 public:
  Object(const nlohmann::json& value, std::string where, const std::string& path);
  std::string text(const char* key) const;
  std::string text_or(const char* key, const std::string& otherwise) const;
  double number(const char* key) const;         // finite, at least 0
  std::int64_t integer(const char* key) const;  // at least 0
  bool flag(const char* key) const;
  bool has(const char* key) const;
  const nlohmann::json& array(const char* key) const;

 private:
  const nlohmann::json& at(const char* key) const;
  [[noreturn]] void bad(const char* key, const char* what) const;
  const nlohmann::json& value_;
  std::string where_;
  const std::string& path_;
};

}  // namespace fovea::strict_json
