// Pictures of made-up eyes.
//
// Fundus: retina, disc and cup are colours blended pixel by pixel; vessels are walks from the disc along the
// four arcades, drawn with cairo on a layer of their own; light, noise and the mask of the camera's field of
// view come last. B-scan: layers stacked upward from the pigment epithelium, each with its own reflectivity,
// times speckle (the mean of a few exponential variates, as multi-look coherent imaging gives).
#include "data/synthetic_draw.hpp"

#include <cairo.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <numbers>
#include <vector>

#include "kernels/runtime/error.hpp"

namespace fovea::synthetic {

namespace {

constexpr float pi = std::numbers::pi_v<float>;

struct Colour {
  float r = 0, g = 0, b = 0;
};

Colour mix(Colour a, Colour b, float t) {
  return {a.r + (b.r - a.r) * t, a.g + (b.g - a.g) * t, a.b + (b.b - a.b) * t};
}
Colour scaled(Colour a, float s) { return {a.r * s, a.g * s, a.b * s}; }

// 1 below `low`, 0 above `high`, smooth between.
float fade(float value, float low, float high) {
  const float t = std::clamp((value - low) / (high - low), 0.0F, 1.0F);
  return 1 - t * t * (3 - 2 * t);
}

float bell(float value, float width) { return std::exp(-(value / width) * (value / width)); }

// Smooth random texture in about -1..1: random values on a lattice, blended between.
class Texture {
 public:
  Texture(Draws& draws, int cells)
      : cells_(cells), values_(static_cast<std::size_t>(cells + 1) * (cells + 1)) {
    for (float& v : values_) v = draws.uniform(-1, 1);
  }

  // x, y in 0..1; outside they are clamped.
  float operator()(float x, float y) const {
    const float fx = std::clamp(x, 0.0F, 0.9999F) * static_cast<float>(cells_);
    const float fy = std::clamp(y, 0.0F, 0.9999F) * static_cast<float>(cells_);
    const int ix = static_cast<int>(fx), iy = static_cast<int>(fy);
    const float tx = 1 - fade(fx - static_cast<float>(ix), 0, 1),
                ty = 1 - fade(fy - static_cast<float>(iy), 0, 1);
    return std::lerp(std::lerp(at(ix, iy), at(ix + 1, iy), tx),
                     std::lerp(at(ix, iy + 1), at(ix + 1, iy + 1), tx), ty);
  }

 private:
  float at(int x, int y) const { return values_[static_cast<std::size_t>(y) * (cells_ + 1) + x]; }

  int cells_;
  std::vector<float> values_;
};

// A cairo picture of `size` pixels whose user space is the unit square.
class Layer {
 public:
  explicit Layer(int size)
      : surface_(cairo_image_surface_create(CAIRO_FORMAT_ARGB32, size, size), cairo_surface_destroy),
        context_(cairo_create(surface_.get()), cairo_destroy) {
    cairo_scale(context_.get(), size, size);
    cairo_set_line_cap(context_.get(), CAIRO_LINE_CAP_ROUND);
    if (cairo_status(context_.get()) != CAIRO_STATUS_SUCCESS) {
      fail(fmt::format("cairo cannot draw {0} x {0} pixels: {1}", size,
                       cairo_status_to_string(cairo_status(context_.get()))));
    }
  }

  void line(float x0, float y0, float x1, float y1, float width, Colour colour) {
    cairo_set_source_rgb(context_.get(), colour.r / 255, colour.g / 255, colour.b / 255);
    cairo_set_line_width(context_.get(), width);
    cairo_move_to(context_.get(), x0, y0);
    cairo_line_to(context_.get(), x1, y1);
    cairo_stroke(context_.get());
  }

  // The colour below, covered by the layer's pixel at `strength`.
  Colour over(Colour below, int x, int y, float strength) const {
    cairo_surface_flush(surface_.get());
    const unsigned char* row = cairo_image_surface_get_data(surface_.get()) +
                               static_cast<std::size_t>(y) * cairo_image_surface_get_stride(surface_.get());
    const std::uint32_t pixel = reinterpret_cast<const std::uint32_t*>(row)[x];
    const auto channel = [&](int shift) { return static_cast<float>((pixel >> shift) & 255U); };
    const float keep = 1 - strength * channel(24) / 255;
    return {below.r * keep + strength * channel(16), below.g * keep + strength * channel(8),
            below.b * keep + strength * channel(0)};
  }

 private:
  std::unique_ptr<cairo_surface_t, void (*)(cairo_surface_t*)> surface_;
  std::unique_ptr<cairo_t, void (*)(cairo_t*)> context_;
};

// One vessel: a walk whose heading turns from `start` to `end` (radians, 0 = nasal, pi/2 = up) with some
// meander.
struct Vessel {
  float x, y, start, end, length, width;
  bool artery;
};

void draw_vessel(Layer& layer, Draws& draws, const Vessel& vessel, int generation) {
  constexpr float step = 0.012F;
  const Colour wall = vessel.artery ? Colour{158, 42, 28} : Colour{112, 22, 22};
  const Colour reflex = vessel.artery ? Colour{205, 95, 65} : Colour{130, 34, 30};
  const float phase = draws.uniform(0, 2 * pi), wave = draws.uniform(9, 16),
              swing = draws.uniform(0.12F, 0.3F);
  const int steps = static_cast<int>(vessel.length / step);
  float x = vessel.x, y = vessel.y, to_branch = draws.uniform(0.1F, 0.25F);
  for (int i = 0; i < steps; ++i) {
    const float part = static_cast<float>(i) / static_cast<float>(steps);
    const float turn = std::lerp(vessel.start, vessel.end, 1 - fade(part, 0, 0.7F));
    const float heading = turn + swing * std::sin(phase + wave * part * vessel.length * 3);
    const float width = vessel.width * (1 - 0.55F * part);
    const float next_x = x + step * std::cos(heading), next_y = y - step * std::sin(heading);
    layer.line(x, y, next_x, next_y, width, wall);
    layer.line(x, y, next_x, next_y, width * 0.3F, reflex);
    x = next_x;
    y = next_y;
    to_branch -= step;
    if (to_branch < 0 && generation < 2) {
      const float side = draws.uniform() < 0.5F ? -1.0F : 1.0F;
      const float aside = heading + side * draws.uniform(0.5F, 0.9F);
      draw_vessel(
          layer, draws,
          {x, y, aside, aside - side * draws.uniform(0.2F, 0.6F), vessel.length * draws.uniform(0.3F, 0.6F),
           width * draws.uniform(0.5F, 0.7F), vessel.artery},
          generation + 1);
      to_branch = draws.uniform(0.12F, 0.3F);
    }
  }
}

// The disc as drawn in one eye; lengths in parts of the image's width.
struct Disc {
  float x, y, across, down;  // centre and half axes
  float cup_x, cup_y, cup_across, cup_down;
  float crescent;  // strength of the pale zone beside the temporal rim
};

Disc place_disc(float cup_to_disc, Draws& person, Draws& eye) {
  Disc disc{};
  disc.across = std::clamp(person.normal(0.2F, 0.01F), 0.175F, 0.225F);
  disc.down = disc.across * eye.uniform(1.03F, 1.12F);
  disc.x = 0.5F + eye.uniform(-0.04F, 0.04F);
  disc.y = 0.5F + eye.uniform(-0.04F, 0.04F);
  disc.cup_across = disc.across * cup_to_disc;
  disc.cup_down = disc.down * cup_to_disc;
  // The cup stays inside the rim.
  const float room = disc.across * std::max(0.0F, 0.94F - cup_to_disc);
  disc.cup_x = disc.x + std::clamp(eye.normal(-0.012F, 0.006F), -room, room);
  disc.cup_y = disc.y + std::clamp(eye.normal(0, 0.006F), -room, room);
  disc.crescent = std::max(0.0F, eye.uniform(-0.7F, 0.6F));
  return disc;
}

void draw_vessels(Layer& layer, const Disc& disc, Draws& eye) {
  const float root_x = disc.x + 0.28F * disc.across, root_y = disc.y;
  for (const bool artery : {false, true}) {
    const float width = artery ? 0.021F : 0.028F;
    const float gap = artery ? 0.02F : -0.02F;
    for (const float up : {1.0F, -1.0F}) {
      const auto angle = [&](float degrees) { return up * (degrees + eye.normal(0, 7)) * pi / 180; };
      const float x = root_x + gap + eye.normal(0, 0.006F), y = root_y - up * 0.02F;
      draw_vessel(layer, eye, {x, y, angle(82), angle(138), 0.95F, width, artery}, 0);
      draw_vessel(layer, eye, {x, y, angle(70), angle(38), 0.8F, width * 0.72F, artery}, 0);
      // A thin one toward the macula.
      draw_vessel(layer, eye, {x - 0.04F, y, angle(150), angle(176), 0.6F, width * 0.35F, artery}, 1);
    }
  }
}

}  // namespace

Image draw_fundus(float cup_to_disc, bool left_eye, int size, Draws person, Draws eye) {
  const float pigment = person.uniform();
  const Disc disc = place_disc(cup_to_disc, person, eye);
  const Colour retina = mix({214, 104, 52}, {158, 66, 32}, pigment);
  const Texture choroid(eye, 7), grain(eye, 24), fibres(eye, 40), lamina(eye, 64);
  Layer vessels(size);
  draw_vessels(vessels, disc, eye);

  const float light_angle = eye.uniform(0, 2 * pi), light = eye.uniform(0.05F, 0.22F),
              exposure = eye.uniform(0.93F, 1.05F);
  const float view_x = 0.5F + eye.uniform(-0.03F, 0.03F), view_y = 0.5F + eye.uniform(-0.03F, 0.03F);
  const float view_radius = eye.uniform(0.56F, 0.62F), paleness = eye.uniform(0, 0.12F),
              noise = eye.uniform(2, 4.5F);

  Image image = make_image(size, size, 3);
  for (int row = 0; row < size; ++row) {
    for (int column = 0; column < size; ++column) {
      const float x = (static_cast<float>(column) + 0.5F) / static_cast<float>(size);
      const float y = (static_cast<float>(row) + 0.5F) / static_cast<float>(size);
      const float dx = (x - disc.x) / disc.across, dy = (y - disc.y) / disc.down;
      const float from_disc = std::hypot(dx, dy);
      const float angle = std::atan2(-dy, dx);  // 0 = nasal

      Colour colour = scaled(retina, 1 + 0.09F * choroid(x, y) + 0.04F * grain(x, y));
      // Nerve fibres: a striated sheen above and below the disc. Toward the macula the retina darkens.
      const float sheen = std::abs(std::sin(angle)) * bell(std::max(0.0F, from_disc - 1), 0.9F);
      colour = mix(colour, {226, 150, 92},
                   sheen * (0.16F + 0.1F * fibres((angle + pi) / (2 * pi), 0.1F * from_disc)));
      colour = scaled(colour, 1 - 0.22F * fade(x, 0, 0.35F));
      const float beside =
          fade(std::abs(std::remainder(angle - pi, 2 * pi)), 0.6F, 1.2F) * fade(from_disc, 1.12F, 1.3F);
      colour = mix(colour, {228, 172, 118}, disc.crescent * beside);

      const Colour rim =
          mix(mix({206, 108, 66}, {222, 138, 86}, fade(dx, -0.8F, 0.6F)), {236, 170, 112}, paleness);
      const Colour ring = mix(rim, {232, 166, 110}, 0.55F * bell(from_disc - 0.95F, 0.07F));
      colour = mix(colour, ring, fade(from_disc, 0.94F, 1.08F));
      const float from_cup = std::hypot((x - disc.cup_x) / disc.cup_across, (y - disc.cup_y) / disc.cup_down);
      const float edge = 0.1F / cup_to_disc;
      const Colour floor = scaled({254, 236, 196}, 1 + 0.05F * lamina(x, y));
      colour = mix(colour, floor, fade(from_cup, 1 - 0.5F * edge, 1 + 0.5F * edge));
      colour = vessels.over(colour, column, row, 0.8F);

      const float shine =
          exposure *
          (1 + light * ((x - 0.5F) * std::cos(light_angle) + (y - 0.5F) * std::sin(light_angle)) * 2 -
           0.35F * ((x - view_x) * (x - view_x) + (y - view_y) * (y - view_y)));
      const float seen = fade(std::hypot(x - view_x, y - view_y), view_radius - 0.008F, view_radius + 0.008F);
      const float common = eye.normal(0, noise);
      const std::array<float, 3> rgb{colour.r, colour.g, colour.b};
      for (int c = 0; c < 3; ++c) {
        const float value = seen * (rgb[c] * shine + common + eye.normal(0, 0.6F * noise)) + 4 * (1 - seen);
        image.at(row, column)[c] = static_cast<std::uint8_t>(std::lround(std::clamp(value, 0.0F, 255.0F)));
      }
    }
  }
  return left_eye ? flip_horizontal(image) : image;
}

Box disc_box(float cup_to_disc, bool left_eye, int size, Draws person, Draws eye) {
  person.uniform();  // the pigment, drawn before
  const Disc disc = place_disc(cup_to_disc, person, eye);
  const float side = static_cast<float>(size), x = left_eye ? 1 - disc.x : disc.x;
  const auto from = [&](float edge) { return std::max(0, static_cast<int>(std::floor(edge * side))); };
  const auto to = [&](float edge) { return std::min(size, static_cast<int>(std::ceil(edge * side))); };
  const int left = from(x - disc.across), top = from(disc.y - disc.down);
  return {left, top, to(x + disc.across) - left, to(disc.y + disc.down) - top};
}

namespace {

// Boundaries of one column of a B-scan from the top down, in parts of the height, and what shines between
// them.
struct Column {
  static constexpr std::array<float, 11> reflectivity{0.04F, 0.84F, 0.38F, 0.26F, 0.44F, 0.17F,
                                                      0.72F, 0.36F, 0.95F, 0.40F, 0.16F};
  std::array<float, 10> boundary{};

  // Blends over half a pixel to each side of a boundary, so that a layer thinner than a pixel still counts.
  float at(float y, float pixel) const {
    float value = reflectivity[0];
    for (std::size_t i = 0; i < boundary.size(); ++i) {
      const float covered = std::clamp((y - boundary[i]) / pixel + 0.5F, 0.0F, 1.0F);
      value += (reflectivity[i + 1] - reflectivity[i]) * covered;
    }
    return value;
  }
};

struct Volume {
  float fovea, tilt, bend, depth, gain, thickness;
};

Column layers_at(float x, float nerve_fibre, float offset, const Volume& volume) {
  const float centre = x - volume.fovea;
  const float pit = bell(offset, 0.4F) * bell(centre, 0.1F);
  const float wide_pit = bell(offset, 0.5F) * bell(centre, 0.17F);
  const float nasal = 1 - fade(x, 0.25F, 1);
  const float scale = volume.thickness;
  const float fibres =
      nerve_fibre * (0.085F + 0.06F * nasal + 0.03F * std::abs(offset)) * (1 - 0.93F * wide_pit) + 0.004F;
  // Bottom of the pigment epithelium, then upward.
  float y = volume.depth + volume.tilt * (x - 0.5F) - volume.bend * (x - 0.5F) * (x - 0.5F);
  Column column;
  column.boundary[9] = y + 0.13F;  // choroid to sclera
  column.boundary[8] = y;
  const std::array<float, 8> up{0.022F,                              // pigment epithelium
                                0.022F,                              // outer segments
                                0.016F,                              // ellipsoid zone
                                scale * 0.062F * (1 + 0.35F * pit),  // outer nuclear
                                scale * 0.022F * (1 - 0.8F * pit),   // outer plexiform
                                scale * 0.040F * (1 - 0.9F * pit),   // inner nuclear
                                scale * 0.075F * (1 - 0.95F * pit),  // ganglion cells and inner plexiform
                                fibres};
  for (int i = 0; i < 8; ++i) {
    y -= up[i];
    column.boundary[7 - i] = y;
  }
  return column;
}

}  // namespace

Image draw_b_scan(float nerve_fibre, float offset, bool left_eye, int size, Draws volume_draws, Draws scan) {
  const Volume volume{.fovea = volume_draws.uniform(0.44F, 0.54F),
                      .tilt = volume_draws.uniform(-0.09F, 0.09F),
                      .bend = volume_draws.uniform(0.02F, 0.2F),
                      .depth = volume_draws.uniform(0.66F, 0.74F),
                      .gain = volume_draws.uniform(0.85F, 1.1F),
                      .thickness = volume_draws.uniform(0.93F, 1.07F)};
  const float pixel = 1.0F / static_cast<float>(size);
  const Texture choroid(volume_draws, 30);
  struct Shadow {
    float x, width;
  };
  std::vector<Shadow> shadows(2 + scan.below(3));
  for (Shadow& s : shadows) s = {scan.uniform(), scan.uniform(0.008F, 0.02F)};

  // Speckle of neighbouring pixels in a row is correlated: each is the mean of itself and the one before.
  const auto look = [&] {
    return -0.5F * std::log((1 - scan.uniform(0, 0.9999F)) * (1 - scan.uniform(0, 0.9999F)));
  };
  Image image = make_image(size, size, 1);
  std::vector<Column> columns;
  for (int i = 0; i < size; ++i) {
    columns.push_back(layers_at((static_cast<float>(i) + 0.5F) * pixel, nerve_fibre, offset, volume));
  }
  for (int row = 0; row < size; ++row) {
    const float y = (static_cast<float>(row) + 0.5F) * pixel;
    float last = look();
    for (int i = 0; i < size; ++i) {
      const float x = (static_cast<float>(i) + 0.5F) * pixel;
      const Column& column = columns[i];
      float value = column.at(y, pixel);
      const float deep = y - column.boundary[8];  // below the pigment epithelium
      if (deep > 0) value = value * (1 + 0.45F * choroid(x, y)) * (0.25F + 0.75F * std::exp(-deep / 0.12F));
      for (const Shadow& s : shadows) {
        if (y > column.boundary[1]) value *= 1 - 0.5F * bell(x - s.x, s.width);
      }
      const float fresh = look();
      const float speckle = 0.5F * (last + fresh);
      last = fresh;
      const float shown = std::pow(volume.gain * value * (0.35F + 0.65F * speckle) + 0.02F * fresh, 0.85F);
      image.at(row, i)[0] = static_cast<std::uint8_t>(std::lround(std::clamp(235 * shown, 0.0F, 255.0F)));
    }
  }
  return left_eye ? flip_horizontal(image) : image;
}

}  // namespace fovea::synthetic
