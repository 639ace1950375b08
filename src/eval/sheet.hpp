// Sheet: a white page in points, drawn on with cairo: lines, letters, pictures. What the pictures of runs share.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

struct _cairo;
struct _cairo_surface;

namespace fovea {

struct Colour {
  double r, g, b;
};
namespace palette {
inline constexpr Colour ink{0.13, 0.15, 0.18}, soft{0.42, 0.45, 0.50}, grid{0.90, 0.91, 0.93}, white{1, 1, 1};
/// Okabe and Ito's, apart for colour-blind readers too.
inline constexpr Colour blue{0.0, 0.447, 0.698}, vermilion{0.835, 0.369, 0.0}, green{0.0, 0.55, 0.40};
}  // namespace palette

enum class Align : std::uint8_t { left, centre, right };

/// What cairo refuses turns up in save() and rgb().
class Sheet {
 public:
  /// In points; `resolution` pixels each.
  Sheet(double width, double height, double resolution = 2);

  void fill(double x, double y, double width, double height, Colour colour);
  void line(double x0, double y0, double x1, double y1, Colour colour, double width = 1);
  /// A polyline with gaps where y is not finite; a point without neighbours becomes a dot.
  void curve(const std::vector<double>& xs, const std::vector<double>& ys, Colour colour,
             std::vector<double> dash);
  /// `y` is the middle of the letters' height.
  void text(double x, double y, const std::string& words, double size, Colour colour,
            Align align = Align::left, bool bold = false);
  void upright_text(double x, double y, const std::string& words, double size, Colour colour,
                    bool downward = false);
  double width_of(const std::string& words, double size);
  /// RGB, 8 bits a channel, rows x columns pixels from `pixels` on.
  void picture(double x, double y, double width, double height, const std::uint8_t* pixels, int rows,
               int columns);

  void save(const std::string& path);
  int rows() const;  // in pixels
  int columns() const;
  std::vector<std::uint8_t> rgb();  // rows x columns x 3

 private:
  void use(Colour colour);
  void dot(double x, double y);
  void font(double size, bool bold);

  std::unique_ptr<_cairo_surface, void (*)(_cairo_surface*)> surface_;
  std::unique_ptr<_cairo, void (*)(_cairo*)> cairo_;
};

/// cairo stops at text that is not UTF-8 and draws nothing after it; other bytes become '?'.
std::string drawable(const std::string& text);

/// As many letters of the text as fit, with an ellipsis.
std::string fitted(Sheet& sheet, std::string text, double size, double width);

}  // namespace fovea
