// What the report pages share: text and bytes made fit for HTML, the style, and the frame of a page.
//
// A page is one file that needs nothing else. Its content security policy lets it load nothing from anywhere, and run
// no script but the one that stands in it.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eval/metrics.hpp"

namespace fovea {

/// A picture on a page: a PNG or JPEG file's bytes. Those of at most 256 pixels a side keep a page small.
struct Picture {
  std::string caption;
  std::string bytes;
};

/// Text for HTML content and quoted attributes; control characters, which HTML does not allow, become '?'.
std::string escaped(std::string_view text);

std::string base64(std::string_view bytes);

/// A figure with the picture as a data URI. Error, naming the caption, where the bytes are no PNG or JPEG.
std::string picture_html(const Picture& picture);

/// A bar of a card: `text` beside a name, and a share of 0 to 1.
struct CardShare {
  std::string name, text;
  double share = 0;
};
/// A card with pictures side by side, what is said of them (HTML) and bars under it.
std::string card_html(const std::string& title, std::span<const Picture> pictures, const std::string& body,
                      std::span<const CardShare> shares);

/// A list of terms and what they are; empty for none.
std::string facts_html(std::span<const std::pair<std::string, std::string>> facts);

/// A bulleted list of sentences; empty for none.
std::string notes_html(std::span<const std::string> notes);

/// The text as it is under a heading that opens it; empty where there is none.
std::string listing_html(std::string_view heading, std::string_view text);

/// Rows: label, columns: prediction; each cell has its count and its share of the row, which also tints it.
std::string confusion_html(const Metrics& metrics);

/// The whole page; `title` is text, `body` and `script` are taken as they are. No script: the page may run none.
std::string page_html(std::string_view title, std::string_view body, std::string_view script = {});

/// The style sheet of the pages and of the charts in them: light, dark and print; wide and narrow.
extern const std::string_view page_style;

}  // namespace fovea
