// See svg.hpp.
#include "eval/svg.hpp"

#include <fmt/format.h>

#include "eval/html.hpp"

namespace fovea {

std::string svg_image(double width, double height, const std::string& label, const std::string& content,
                      const std::string& style) {
  return fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\"{}>\n{}</svg>\n", width,
                     height, escaped(label), style.empty() ? "" : fmt::format(" style=\"{}\"", style),
                     content);
}

std::string svg_text(double x, double y, const char* anchor, const std::string& words) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", x, y, anchor,
                     escaped(words));
}

}  // namespace fovea
