// See shadow.hpp.
#include "simt/host/checker/shadow.hpp"

#include <algorithm>

namespace simt::detail {
namespace {

// The bytes of [begin, end) in the word at this address, a bit each.
unsigned bytes_in_word(std::uintptr_t word, std::uintptr_t begin, std::uintptr_t end) {
  const unsigned first = begin > word ? unsigned(begin - word) : 0;
  const unsigned last = end < word + 4 ? unsigned(end - word) : 4;
  return (1u << last) - (1u << first);
}

// Calls f(cell, bits) for the words of a page that meet [begin, end).
template <class F>
void for_each_in_page(Page& page, std::uintptr_t page_begin, std::uintptr_t begin, std::uintptr_t end,
                      F&& f) {
  begin = std::max(begin, page_begin);
  end = std::min(end, page_begin + Page::bytes);
  for (std::uintptr_t word = begin / 4 * 4; word < end; word += 4) {
    f(page.cells[(word - page_begin) / 4], bytes_in_word(word, begin, end));
  }
}

}  // namespace

Page* Shadow::find(std::uintptr_t address) {
  const auto at = pages_.find(address / Page::bytes);
  return at == pages_.end() ? nullptr : at->second.get();
}

Page& Shadow::find_or_make(std::uintptr_t number) {
  std::unique_ptr<Page>& page = pages_[number];
  if (page == nullptr) page = std::make_unique<Page>();
  return *page;
}

template <class F>
void Shadow::for_each_word(std::uintptr_t begin, std::uintptr_t end, F&& f) {
  for (std::uintptr_t at = begin / Page::bytes * Page::bytes; at < end; at += Page::bytes) {
    if (Page* page = find(at)) for_each_in_page(*page, at, begin, end, f);
  }
}

void Shadow::set_defined(std::uintptr_t begin, std::uintptr_t bytes, bool value) {
  for_each_word(begin, begin + bytes, [value](Cell& cell, unsigned bits) {
    cell.defined = (value ? cell.defined | bits : cell.defined & ~bits) & 15;
  });
}

void Shadow::set_closed(std::uintptr_t begin, std::uintptr_t bytes, bool value) {
  for_each_word(begin, begin + bytes, [value](Cell& cell, unsigned bits) {
    cell.closed = (value ? cell.closed | bits : cell.closed & ~bits) & 15;
  });
}

void Shadow::forget_accesses(Page& page) {
  for (Cell& cell : page.cells) {
    if (!cell.split) give_more(cell);
    const Cell old = cell;
    cell = Cell{};
    cell.defined = old.defined;
    cell.closed = old.closed;
  }
  for (std::array<Cell, 4>& bytes : page.splits) {
    for (Cell& cell : bytes) give_more(cell);
  }
  page.splits.clear();
  page.remote = false;
}

void Shadow::make_global(Page& page, std::uintptr_t address, const std::vector<Range>& ranges) {
  page.rank = -1;
  for (Cell& cell : page.cells) {
    cell.defined = 15;
    cell.closed = 0;
  }
  for (const Range& range : ranges) {
    for_each_in_page(page, address, range.begin, range.end(), [&](Cell& cell, unsigned bits) {
      cell.closed = (range.guard ? cell.closed | bits : cell.closed & ~bits) & 15;
      const bool defined = range.defined || range.guard;
      cell.defined = (defined ? cell.defined | bits : cell.defined & ~bits) & 15;
    });
  }
}

void Shadow::make_shared(Page& page, std::uintptr_t address, int rank,
                         const std::map<std::uintptr_t, Range>& variables) {
  page.rank = rank;
  for (Cell& cell : page.cells) {
    cell.defined = 0;
    cell.closed = 15;
  }
  for (const auto& [begin, variable] : variables) {
    for_each_in_page(page, address, begin, variable.end(),
                     [](Cell& cell, unsigned bits) { cell.closed = cell.closed & ~bits & 15; });
  }
}

std::uint32_t Shadow::take_more() {
  if (free_more_ == 0) {
    more_.emplace_back();
    return std::uint32_t(more_.size() - 1);
  }
  const std::uint32_t number = free_more_;
  free_more_ = more_[number].next;
  more_[number] = {};
  return number;
}

void Shadow::give_more(Cell& cell) {
  while (cell.more != 0) {
    const std::uint32_t next = more_[cell.more].next;
    more_[cell.more].next = free_more_;
    free_more_ = cell.more;
    cell.more = next;
  }
}

// What was known of the word holds for each of its bytes.
std::array<Cell, 4>& Shadow::split(Page& page, Cell& cell) {
  if (cell.split) return page.splits[cell.more];
  std::array<Cell, 4> bytes;
  for (Cell& byte : bytes) {
    byte = cell;
    byte.more = 0;
    for (std::uint32_t from = cell.more; from != 0; from = more_[from].next) {
      const std::uint32_t copy = take_more();
      more_[copy].groups = more_[from].groups;
      more_[copy].next = byte.more;
      byte.more = copy;
    }
  }
  give_more(cell);
  cell.split = true;
  cell.more = std::uint32_t(page.splits.size());
  page.splits.push_back(bytes);
  return page.splits.back();
}

}  // namespace simt::detail
