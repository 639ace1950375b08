// The pictures of cam_maps.hpp.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "cam_maps.hpp"
#include "eval/colour_map.hpp"
#include "eval/sheet.hpp"

namespace fovea {
namespace {

constexpr double tile = 132, gap = 8, margin = 16, heading = 34, title = 20, caption = 14;
constexpr double resolution = 2;

std::string class_text(std::int64_t label, const std::vector<std::string>& classes) {
  const auto at = static_cast<std::size_t>(label);
  const std::string number = fmt::format("{}", label);
  return at < classes.size() && classes[at] != number ? fmt::format("{} ({})", number, classes[at]) : number;
}

std::string title_of(const CamResult& r, const std::vector<std::string>& classes) {
  std::string text;
  if (r.label >= 0) text += fmt::format("true {}, ", class_text(r.label, classes));
  text += fmt::format("predicted {}", class_text(r.predicted, classes));
  if (r.target != r.predicted) text += fmt::format(", map of {}", class_text(r.target, classes));
  return text + fmt::format(", p = {:.3f}", r.probability);
}

std::string caption_of(const CamResult& r) {
  std::string text;
  const auto add = [&](std::string part) { text += (text.empty() ? "" : "  ") + std::move(part); };
  if (r.insertion) add(fmt::format("ins {:.2f}", *r.insertion));
  if (r.deletion) add(fmt::format("del {:.2f}", *r.deletion));
  if (r.disc) add(fmt::format("disc {:.0f} %", 100 * r.disc->share));
  if (r.fovea) add(fmt::format("fovea {:.0f} %", 100 * r.fovea->share));
  return text;
}

using Column = std::pair<std::string, std::string>;  // modality, layer; an empty layer: what the network saw

// Modalities in the order of first sight, each with its layers.
std::vector<Column> columns_of(const std::vector<CamResult>& results) {
  std::vector<std::string> modalities, layers;
  const auto add = [](std::vector<std::string>& list, const std::string& name) {
    if (std::ranges::find(list, name) == list.end()) list.push_back(name);
  };
  for (const CamResult& r : results) {
    add(modalities, r.modality);
    add(layers, r.layer);
  }
  std::vector<Column> columns;
  for (const std::string& modality : modalities) {
    columns.emplace_back(modality, "");
    for (const std::string& layer : layers) columns.emplace_back(modality, layer);
  }
  return columns;
}

/// Of one sample.
using Row = std::vector<const CamResult*>;

std::vector<Row> rows_of(const std::vector<CamResult>& results) {
  std::vector<Row> rows;
  for (const CamResult& r : results) {
    if (rows.empty() || rows.back()[0]->id != r.id) {
      if (rows.size() == most_sheet_rows) break;
      rows.emplace_back();
    }
    rows.back().push_back(&r);
  }
  return rows;
}

void draw_tile(Sheet& sheet, double x, double y, const CamResult& r, bool map) {
  const Image& image = map ? r.overlay : r.seen;
  const double scale = tile / std::max(image.height, image.width);
  const double width = image.width * scale, height = image.height * scale;
  sheet.picture(x + (tile - width) / 2, y + (tile - height) / 2, width, height, image.pixels.data(),
                image.height, image.width);
  if (!map) return;
  const bool ok = r.status == CamStatus::ok;
  const std::string text = ok ? caption_of(r) : fmt::format("no map: {}", name_of(r.status));
  sheet.text(x + tile / 2, y + tile + caption / 2, fitted(sheet, text, 9, tile), 9,
             ok ? palette::soft : palette::vermilion, Align::centre);
}

void draw_row(Sheet& sheet, double y, const Row& row, const std::vector<Column>& columns,
              const std::vector<std::string>& classes, double width) {
  const double id_width = std::min(sheet.width_of(drawable(row[0]->id), 12) * 1.15, 0.4 * width);
  sheet.text(margin, y + title / 2, fitted(sheet, row[0]->id, 12, id_width), 12, palette::ink, Align::left,
             true);
  sheet.text(margin + id_width + gap, y + title / 2,
             fitted(sheet, title_of(*row[0], classes), 11, width - 2 * margin - id_width - gap), 11,
             palette::soft);
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const auto& [modality, layer] = columns[i];
    const auto found = std::ranges::find_if(row, [&](const CamResult* r) {
      return r->modality == modality && (layer.empty() || r->layer == layer);
    });
    const double x = margin + static_cast<double>(i) * (tile + gap);
    if (found != row.end()) {
      draw_tile(sheet, x, y + title, **found, !layer.empty());
    } else if (layer.empty()) {
      sheet.text(x + tile / 2, y + title + tile / 2, "no " + modality, 11, palette::soft, Align::centre);
    }
  }
}

// What the colours mean, at the foot of the sheet.
void draw_key(Sheet& sheet, double y) {
  constexpr int steps = 64;
  std::vector<std::uint8_t> bar;
  for (int i = 0; i < steps; ++i)
    for (const std::uint8_t level : viridis((i + 0.5) / steps)) bar.push_back(level);
  sheet.text(margin, y, "0", 10, palette::soft);
  sheet.picture(margin + 12, y - 4, tile - 24, 8, bar.data(), 1, steps);
  sheet.text(margin + tile - 6, y, "1  half map, half picture", 10, palette::soft);
}

}  // namespace

Image overlay_of(const Image& picture, const std::vector<float>& map) {
  Image overlay = picture;
  for (std::size_t i = 0; i < map.size(); ++i) {
    const std::array<std::uint8_t, 3> colour = viridis(map[i]);
    for (std::size_t c = 0; c < 3; ++c)
      overlay.pixels[3 * i + c] = static_cast<std::uint8_t>((picture.pixels[3 * i + c] + colour[c] + 1) / 2);
  }
  return overlay;
}

Image cam_sheet(const std::vector<CamResult>& results, const std::vector<std::string>& classes) {
  const std::vector<Column> columns = columns_of(results);
  const std::vector<Row> rows = rows_of(results);
  const double row_height = title + tile + caption + gap;
  const double width =
      std::max(2 * margin + static_cast<double>(columns.size()) * (tile + gap) - gap, 2 * margin + 2 * tile);
  Sheet sheet(width, heading + static_cast<double>(rows.size()) * row_height + 1.5 * margin, resolution);
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const auto& [modality, layer] = columns[i];
    sheet.text(margin + static_cast<double>(i) * (tile + gap) + tile / 2, heading / 2,
               fitted(sheet, layer.empty() ? modality : layer, 12, tile), 12, palette::ink, Align::centre,
               !layer.empty());
  }
  for (std::size_t i = 0; i < rows.size(); ++i)
    draw_row(sheet, heading + static_cast<double>(i) * row_height, rows[i], columns, classes, width);
  draw_key(sheet, heading + static_cast<double>(rows.size()) * row_height + margin / 2);
  return {sheet.rows(), sheet.columns(), 3, sheet.rgb()};
}

}  // namespace fovea
