// See sheet.hpp.
#include "eval/sheet.hpp"

#include <cairo.h>
#include <fmt/format.h>

#include <cmath>

#include "kernels/runtime/atomic_file.hpp"
#include "kernels/runtime/error.hpp"

#ifdef __SANITIZE_ADDRESS__
// fontconfig, which finds the letters for cairo, keeps its patterns by offset instead of by pointer, so that
// the leak checker takes what is cached for lost.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:libfontconfig"; }
extern "C" const char* __lsan_default_options();
extern "C" const char* __lsan_default_options() { return "print_suppressions=0"; }
#endif

namespace fovea {
namespace {

void check(cairo_status_t status, const std::string& what) {
  if (status != CAIRO_STATUS_SUCCESS)
    fail(fmt::format("cannot draw {}: {}", what, cairo_status_to_string(status)));
}

}  // namespace

Sheet::Sheet(double width, double height, double resolution)
    : surface_(cairo_image_surface_create(CAIRO_FORMAT_RGB24, static_cast<int>(width * resolution),
                                          static_cast<int>(height * resolution)),
               cairo_surface_destroy),
      cairo_(cairo_create(surface_.get()), cairo_destroy) {
  cairo_scale(cairo_.get(), resolution, resolution);
  fill(0, 0, width, height, palette::white);
  cairo_set_line_join(cairo_.get(), CAIRO_LINE_JOIN_ROUND);
}

void Sheet::fill(double x, double y, double width, double height, Colour colour) {
  use(colour);
  cairo_rectangle(cairo_.get(), x, y, width, height);
  cairo_fill(cairo_.get());
}

void Sheet::line(double x0, double y0, double x1, double y1, Colour colour, double width) {
  use(colour);
  cairo_set_line_width(cairo_.get(), width);
  cairo_move_to(cairo_.get(), x0, y0);
  cairo_line_to(cairo_.get(), x1, y1);
  cairo_stroke(cairo_.get());
}

void Sheet::curve(const std::vector<double>& xs, const std::vector<double>& ys, Colour colour,
                  std::vector<double> dash) {
  use(colour);
  cairo_set_line_width(cairo_.get(), 1.8);
  cairo_set_dash(cairo_.get(), dash.data(), static_cast<int>(dash.size()), 0);
  const auto drawn = [&](std::size_t i) { return i < ys.size() && std::isfinite(ys[i]); };
  for (std::size_t i = 0; i < ys.size(); ++i) {
    if (!drawn(i)) continue;
    const bool begins = i == 0 || !drawn(i - 1);
    begins ? cairo_move_to(cairo_.get(), xs[i], ys[i]) : cairo_line_to(cairo_.get(), xs[i], ys[i]);
    if (!drawn(i + 1)) {
      cairo_stroke(cairo_.get());
      if (begins) dot(xs[i], ys[i]);
    }
  }
  cairo_set_dash(cairo_.get(), nullptr, 0, 0);
}

void Sheet::text(double x, double y, const std::string& words, double size, Colour colour, Align align,
                 bool bold) {
  use(colour);
  font(size, bold);
  cairo_text_extents_t box;
  cairo_text_extents(cairo_.get(), words.c_str(), &box);
  const double shift = align == Align::left ? 0 : align == Align::centre ? box.x_advance / 2 : box.x_advance;
  cairo_move_to(cairo_.get(), x - shift, y + 0.36 * size);
  cairo_show_text(cairo_.get(), words.c_str());
}

void Sheet::upright_text(double x, double y, const std::string& words, double size, Colour colour,
                         bool downward) {
  cairo_save(cairo_.get());
  cairo_translate(cairo_.get(), x, y);
  cairo_rotate(cairo_.get(), downward ? M_PI / 2 : -M_PI / 2);
  text(0, 0, words, size, colour, Align::centre);
  cairo_restore(cairo_.get());
}

double Sheet::width_of(const std::string& words, double size) {
  font(size, false);
  cairo_text_extents_t box;
  cairo_text_extents(cairo_.get(), words.c_str(), &box);
  return box.x_advance;
}

void Sheet::picture(double x, double y, double width, double height, const std::uint8_t* pixels, int rows,
                    int columns) {
  const std::unique_ptr<cairo_surface_t, void (*)(cairo_surface_t*)> image(
      cairo_image_surface_create(CAIRO_FORMAT_RGB24, columns, rows), cairo_surface_destroy);
  check(cairo_surface_status(image.get()), "a picture");
  for (int row = 0; row < rows; ++row) {
    auto* to = reinterpret_cast<std::uint32_t*>(cairo_image_surface_get_data(image.get()) +
                                                static_cast<std::ptrdiff_t>(row) *
                                                    cairo_image_surface_get_stride(image.get()));
    for (int column = 0; column < columns; ++column, pixels += 3)
      to[column] = std::uint32_t{pixels[0]} << 16 | std::uint32_t{pixels[1]} << 8 | pixels[2];
  }
  cairo_surface_mark_dirty(image.get());
  cairo_save(cairo_.get());
  cairo_translate(cairo_.get(), x, y);
  cairo_scale(cairo_.get(), width / columns, height / rows);
  cairo_set_source_surface(cairo_.get(), image.get(), 0, 0);
  cairo_pattern_set_extend(cairo_get_source(cairo_.get()), CAIRO_EXTEND_PAD);
  cairo_rectangle(cairo_.get(), 0, 0, columns, rows);
  cairo_fill(cairo_.get());
  cairo_restore(cairo_.get());
}

void Sheet::save(const std::string& path) {
  std::string bytes;
  const auto append = [](void* to, const unsigned char* data, unsigned int size) {
    static_cast<std::string*>(to)->append(reinterpret_cast<const char*>(data), size);
    return CAIRO_STATUS_SUCCESS;
  };
  check(cairo_status(cairo_.get()), path);
  check(cairo_surface_write_to_png_stream(surface_.get(), append, &bytes), path);
  write_file_atomically(path, bytes);
}

int Sheet::rows() const { return cairo_image_surface_get_height(surface_.get()); }
int Sheet::columns() const { return cairo_image_surface_get_width(surface_.get()); }

std::vector<std::uint8_t> Sheet::rgb() {
  check(cairo_status(cairo_.get()), "a sheet");
  cairo_surface_flush(surface_.get());
  std::vector<std::uint8_t> values;
  for (int row = 0; row < rows(); ++row) {
    const auto* from = reinterpret_cast<const std::uint32_t*>(
        cairo_image_surface_get_data(surface_.get()) +
        static_cast<std::ptrdiff_t>(row) * cairo_image_surface_get_stride(surface_.get()));
    for (int column = 0; column < columns(); ++column)
      for (const int shift : {16, 8, 0}) values.push_back(static_cast<std::uint8_t>(from[column] >> shift));
  }
  return values;
}

void Sheet::use(Colour colour) { cairo_set_source_rgb(cairo_.get(), colour.r, colour.g, colour.b); }

void Sheet::dot(double x, double y) {
  cairo_arc(cairo_.get(), x, y, 2.5, 0, 2 * M_PI);
  cairo_fill(cairo_.get());
}

void Sheet::font(double size, bool bold) {
  cairo_select_font_face(cairo_.get(), "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                         bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size(cairo_.get(), size);
}

std::string drawable(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80                   ? 1
                               : lead >= 0xc2 && lead < 0xe0 ? 2
                               : lead >= 0xe0 && lead < 0xf0 ? 3
                               : lead >= 0xf0 && lead < 0xf5 ? 4
                                                             : 0;
    bool whole = length > 0 && i + length <= text.size() && lead >= 0x20 && lead != 0x7f;
    for (std::size_t j = 1; whole && j < length; ++j) whole = (text[i + j] & 0xc0) == 0x80;
    // Overlong forms, surrogates and code points past the last one.
    const auto second = whole && length > 2 ? static_cast<unsigned char>(text[i + 1]) : 0xa0;
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second >= 0xa0 && length > 2) ||
        (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second >= 0x90)) {
      whole = false;
    }
    result += whole ? text.substr(i, length) : "?";
    i += whole ? length : 1;
  }
  return result;
}

std::string fitted(Sheet& sheet, std::string text, double size, double width) {
  text = drawable(text);
  if (sheet.width_of(text, size) <= width) return text;
  while (!text.empty() && sheet.width_of(text + "\xe2\x80\xa6", size) > width) {
    while (!text.empty() && (text.back() & 0xc0) == 0x80) text.pop_back();
    if (!text.empty()) text.pop_back();
  }
  return text + "\xe2\x80\xa6";
}

}  // namespace fovea
