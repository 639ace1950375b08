// What must hold of every report page, for the tests of each.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace fovea {

inline std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

inline void expect_parts(const std::string& html, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) EXPECT_NE(html.find(part), std::string::npos) << part;
}

/// Every element that a page opens it also closes; no number that is none is printed; nothing is named that lies elsewhere.
inline void expect_whole(const std::string& html) {
  for (const char* tag :
       {"html", "main",   "section", "article", "table", "thead", "tbody", "tr", "td", "th", "div",
        "svg",  "g",      "pre",     "h1",      "h2",    "h3",    "p",     "dl", "dt", "dd", "ul",
        "li",   "figure", "details", "summary", "text",  "title", "span",  "b",  "i"}) {
    EXPECT_EQ(count(html, fmt::format("<{}>", tag)) + count(html, fmt::format("<{} ", tag)),
              count(html, fmt::format("</{}>", tag)))
        << tag;
  }
  for (const char* part : {"nan", "NaN", "inf ", "inf<", "http://", "https://", "<link", "url("})
    EXPECT_EQ(html.find(part), std::string::npos) << part;
}

}  // namespace fovea
