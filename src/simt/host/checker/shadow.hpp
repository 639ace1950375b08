// Shadow memory: what the checker knows about every word that kernels touch.
//
// A page of shadow stands for 4096 bytes and is made at the first access. A word remembers its last write and
// the threads that have read it since. At the first access narrower than a word it splits into four, so that
// neighbours of one or two bytes, written by different threads, are no race.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "simt/host/checker/clock.hpp"
#include "simt/host/checker/symbols.hpp"

namespace simt::detail {

/// Lanes of one warp that have accessed a word at the same stamp.
struct Group {
  Stamp stamp = 0;  // 0: nobody
  std::uint32_t lanes = 0;
  Origin origin = 0;
  std::uint16_t warp = 0;
  bool atomic = false;
};

/// The state of a word, or of one byte of a word that is split.
struct Cell {
  Stamp write_stamp = 0;  // 0: not written in this launch
  Origin write_origin = 0;
  Group readers;           // and threads whose atomic write another's has replaced
  std::uint32_t more = 0;  // further groups, by number; where split: the four bytes' cells
  std::uint16_t write_thread = 0;
  std::uint8_t atomic : 1 = false;         // the write
  std::uint8_t atomic_groups : 1 = false;  // some of the groups are of atomic writes
  std::uint8_t split : 1 = false;
  std::uint8_t in_flight : 1 = false;  // an asynchronous copy will write it
  std::uint8_t defined : 4 = 0;        // a bit for each byte
  std::uint8_t closed : 4 = 0;         // bytes that no kernel may touch

  bool plain() const { return !split && !in_flight && defined == 15 && closed == 0; }
};
static_assert(sizeof(Cell) == 32);

/// Further groups of a cell, in a chain.
struct MoreGroups {
  std::array<Group, 3> groups;
  std::uint32_t next = 0;
};

struct Page {
  static constexpr unsigned bytes = 4096, words = bytes / 4;
  std::uint32_t epoch = 0;
  int rank = -1;        // of the block whose shared memory it is; -1: global memory
  bool remote = false;  // touched by another block of the cluster
  std::array<Cell, words> cells;
  std::vector<std::array<Cell, 4>> splits;
};

/// Memory that was announced: by watch(), watch_guard() or as a shared variable.
struct Range {
  std::uintptr_t begin, bytes;
  std::string name;
  bool defined = false, guard = false;

  std::uintptr_t end() const { return begin + bytes; }
  bool holds(std::uintptr_t address) const { return address >= begin && address < end(); }
  bool meets(std::uintptr_t from, std::uintptr_t to) const { return begin < to && end() > from; }
};

class Shadow {
 public:
  /// The page of an address as the last launch that touched it left it; made where there is none.
  Page& page(std::uintptr_t address) {
    const std::uintptr_t number = address / Page::bytes;
    Recent& recent = recent_[number % recent_.size()];
    if (recent.number != number) recent = {number, &find_or_make(number)};
    return *recent.page;
  }
  /// Null where none was made.
  Page* find(std::uintptr_t address);

  /// Forgets all accesses; with `ranges`, also what is defined and closed, to begin from these.
  void forget_accesses(Page& page);
  void make_global(Page& page, std::uintptr_t address, const std::vector<Range>& ranges);
  void make_shared(Page& page, std::uintptr_t address, int rank,
                   const std::map<std::uintptr_t, Range>& variables);

  /// Sets bits of `defined` or `closed` for a range of bytes, in pages that exist.
  void set_defined(std::uintptr_t begin, std::uintptr_t bytes, bool value);
  void set_closed(std::uintptr_t begin, std::uintptr_t bytes, bool value);

  MoreGroups& more(std::uint32_t number) { return more_[number]; }
  std::uint32_t take_more();
  void give_more(Cell& cell);
  std::array<Cell, 4>& split(Page& page, Cell& cell);

 private:
  struct Recent {
    std::uintptr_t number = 0;
    Page* page = nullptr;
  };
  Page& find_or_make(std::uintptr_t number);
  template <class F>
  void for_each_word(std::uintptr_t begin, std::uintptr_t end, F&& f);

  std::unordered_map<std::uintptr_t, std::unique_ptr<Page>> pages_;
  std::array<Recent, 1024> recent_{};
  std::vector<MoreGroups> more_{1};  // number 0 is none
  std::uint32_t free_more_ = 0;
};

}  // namespace simt::detail
