// Peaks: the measured ceilings of a machine, against which rates are reported, and the file that keeps them.
//
// Data sheets promise what no program reaches, so a ceiling here is a rate that was read: bytes of a copy and of a triad
// over arrays far larger than the last-level cache, and operations of a dense matrix product in each type. What a piece
// of work takes at least, its floor, is then max(flops / that type's ceiling, bytes / copy ceiling): the roofline model
// (Williams, Waterman, Patterson: Roofline, CACM 52(4), 2009). Measuring is kernels/measured_peaks.hpp's.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernels/runtime/view.hpp"

namespace fovea {

struct Peaks {
  /// The best rate of one type.
  struct Gemm {
    Dtype dtype = Dtype::f32;
    double flops = 0;  // per second
    std::string by;    // what was timed: "oneDNN matrix product", "multiply-add loop"
    bool operator==(const Gemm&) const = default;
  };
  std::string machine;           // the processor's or the device's name
  std::string library;           // of the products, with its version
  int threads = 0;               // of the host
  double copy_bytes_per_s = 0;   // read + write
  double triad_bytes_per_s = 0;  // a = b + s c: two reads, one write
  std::vector<Gemm> gemms;
  double spread = 0;  // by how much of the best run's time the median one took longer, the worst of all rates

  /// Operations per second of a type; f32's where the type has none of its own.
  double flops_of(Dtype dtype) const;
  /// The least seconds that the work can take.
  double floor_seconds(Dtype dtype, double flops, double bytes) const;
  bool operator==(const Peaks&) const = default;
};

/// CACHE_FOLDER/peaks-MACHINE-THREADS.json
std::string peaks_path(const std::string& machine, int threads);

/// What the file holds, if it is of this machine, library and number of threads. Nothing where there is no file, and
/// where it cannot be used; `complaint` then gets a sentence that says why.
std::optional<Peaks> read_peaks(const std::string& path, const Peaks& expected, std::string& complaint);
/// Whole or not at all; makes the folder.
void write_peaks(const std::string& path, const Peaks& peaks);
/// As in the file.
std::string peaks_json(const Peaks& peaks);

}  // namespace fovea
