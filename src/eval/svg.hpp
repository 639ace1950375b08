// Pieces of inline SVG that every chart of the pages is made of.
#pragma once

#include <string>

namespace fovea {

/// An image to a screen reader, named by `label`; `style` is of the element, taken as it is.
std::string svg_image(double width, double height, const std::string& label, const std::string& content,
                      const std::string& style = {});

/// `anchor` is start, middle or end; the words are escaped.
std::string svg_text(double x, double y, const char* anchor, const std::string& words);

}  // namespace fovea
