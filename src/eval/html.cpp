// See html.hpp.
#include "eval/html.hpp"

#include <fmt/format.h>

#include <cstdint>

#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

std::string_view media_type(const Picture& picture) {
  if (picture.bytes.starts_with("\x89PNG\r\n\x1a\n")) return "image/png";
  if (picture.bytes.starts_with("\xff\xd8\xff")) return "image/jpeg";
  fail(fmt::format("cannot put the picture '{}' into the report: its {} bytes are neither PNG nor JPEG",
                   picture.caption, picture.bytes.size()));
}

std::string_view escape_of(char c) {
  switch (c) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&quot;";
    case '\'':
      return "&#39;";
    default:
      return {};
  }
}

bool is_control(char c) {
  return (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' && c != '\r') || c == 0x7f;
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const std::string_view escape = escape_of(c);
    if (!escape.empty()) {
      result += escape;
    } else {
      result += is_control(c) ? '?' : c;
    }
  }
  return result;
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0u);
    for (std::size_t j = 0; j < 4; ++j)
      text += i + j > bytes.size() ? '=' : digits[group >> (18 - 6 * j) & 63];
  }
  return text;
}

std::string picture_html(const Picture& picture) {
  return fmt::format(
      "<figure><img alt=\"{0}\" src=\"data:{1};base64,{2}\"><figcaption>{0}</figcaption></figure>\n",
      escaped(picture.caption), media_type(picture), base64(picture.bytes));
}

std::string card_html(const std::string& title, std::span<const Picture> pictures, const std::string& body,
                      std::span<const CardShare> shares) {
  std::string html = fmt::format("<article class=\"card\"><h3>{}</h3>\n", escaped(title));
  if (!pictures.empty()) {
    html += "<div class=\"pictures\">\n";
    for (const Picture& picture : pictures) html += picture_html(picture);
    html += "</div>\n";
  }
  html += body + "<div class=\"shares\">\n";
  for (const CardShare& s : shares) {
    html += fmt::format("<span>{}</span><span>{}</span><i style=\"--share:{:.3f}\"></i>\n", escaped(s.name),
                        escaped(s.text), s.share);
  }
  return html + "</div></article>\n";
}

std::string facts_html(std::span<const std::pair<std::string, std::string>> facts) {
  std::string html;
  for (const auto& [name, value] : facts)
    html += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escaped(name), escaped(value));
  return html.empty() ? html : "<dl class=\"facts\">\n" + html + "</dl>\n";
}

std::string notes_html(std::span<const std::string> notes) {
  std::string html;
  for (const std::string& note : notes) html += fmt::format("<li>{}</li>\n", escaped(note));
  return html.empty() ? html : "<ul class=\"notes\">\n" + html + "</ul>\n";
}

std::string listing_html(std::string_view heading, std::string_view text) {
  if (text.empty()) return {};
  return fmt::format(
      "<details class=\"listing\"><summary><h2>{}</h2></summary>\n<pre tabindex=\"0\">{}</pre></details>\n",
      escaped(heading), escaped(text));
}

std::string confusion_html(const Metrics& metrics) {
  std::string html =
      "<div class=\"wide\"><table class=\"confusion\"><thead><tr><th scope=\"col\">label \\ predicted</th>";
  for (const std::string& name : metrics.classes)
    html += fmt::format("<th scope=\"col\">{}</th>", escaped(name));
  html += "</tr></thead><tbody>\n";
  for (std::size_t i = 0; i < metrics.confusion.size(); ++i) {
    html += fmt::format("<tr><th scope=\"row\">{}</th>", escaped(metrics.classes.at(i)));
    double total = 0;
    for (const std::int64_t n : metrics.confusion[i]) total += static_cast<double>(n);
    for (const std::int64_t n : metrics.confusion[i]) {
      const double share = total > 0 ? static_cast<double>(n) / total : 0;
      html +=
          fmt::format("<td style=\"--share:{:.3f}\">{}<small>{:.0f} %</small></td>", share, n, 100 * share);
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string page_html(std::string_view title, std::string_view body, std::string_view script) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
      "style-src 'unsafe-inline'{1}\">\n"
      "<title>{0}</title>\n<style>{2}</style></head>\n<body><main>\n<h1>{0}</h1>\n{3}</main>{4}</body></"
      "html>\n",
      escaped(title), script.empty() ? "" : "; script-src 'unsafe-inline'", page_style, body,
      script.empty() ? std::string() : fmt::format("\n<script>{}</script>\n", script));
}

}  // namespace fovea
