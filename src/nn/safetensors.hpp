// safetensors: named arrays in one file, and nothing that runs on loading.
//
// Layout: 8 bytes length of the header (little-endian), the header (JSON: name -> dtype, shape, data_offsets;
// and
// "__metadata__", strings), then the arrays' bytes, little-endian, row-major, without holes.
// Matches the reference implementation (github.com/huggingface/safetensors, checked with 0.4.5 and 0.8.0):
// the same files are accepted, save that here unknown fields, unknown dtypes, duplicate names and keys are
// refused too; and the files written are the same byte for byte (larger dtypes first, then by name, so that
// every array is aligned to its element).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fovea {

/// One array. `data` may belong to somebody else (then it must live as long as the entry) or to `owner`.
struct SafetensorsEntry {
  std::string name;
  std::string dtype;                // BOOL U8 I8 I16 U16 F16 BF16 I32 U32 F32 F64 I64 U64
  std::vector<std::int64_t> shape;  // empty: a scalar
  std::span<const std::byte> data;  // not aligned in a file that somebody else wrote: use the helpers below
  std::shared_ptr<const void> owner;
};

/// A file read whole and checked whole. The entries keep the bytes alive, so they may outlive the
/// SafetensorsFile.
class SafetensorsFile {
 public:
  /// Error naming file, tensor and remedy: unreadable, shorter or longer than its header says, header over
  /// 100 MB or not the JSON above, duplicate or unknown fields, unknown dtype, sizes that overflow or do not
  /// fit the shape, holes, overlaps. Sizes are checked before memory is asked for.
  static SafetensorsFile open(const std::string& path);

  const std::string& path() const { return path_; }
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }  // in the order of the file
  const SafetensorsEntry* find(std::string_view name) const;                 // null where there is none
  const SafetensorsEntry& at(std::string_view name) const;                   // Error with the nearest names
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  std::string path_;
  std::vector<SafetensorsEntry> entries_;
  std::map<std::string, std::size_t, std::less<>> index_;
  std::map<std::string, std::string> metadata_;
};

/// Writes the file whole or not at all (kernels/runtime/atomic_file.hpp). Error: duplicate or reserved names, names that
/// are not UTF-8, unknown dtype, data that does not fit the shape.
void write_safetensors(const std::string& path, std::span<const SafetensorsEntry> entries,
                       const std::map<std::string, std::string>& metadata = {});

/// Entries that own their values (F32, F64, I64, U8). Error where shape and number of values differ.
SafetensorsEntry safetensors_entry(std::string name, std::vector<std::int64_t> shape,
                                   std::vector<float> values);
SafetensorsEntry safetensors_entry(std::string name, std::vector<std::int64_t> shape,
                                   std::vector<double> values);
SafetensorsEntry safetensors_entry(std::string name, std::vector<std::int64_t> shape,
                                   std::vector<std::int64_t> values);
SafetensorsEntry safetensors_entry(std::string name, std::vector<std::int64_t> shape,
                                   std::vector<std::uint8_t> values);

/// Number of elements of the entry.
std::int64_t element_count(const SafetensorsEntry& entry);

/// Values of an F32, F64, F16 or BF16 entry; Error for another dtype, or where a finite F64 leaves float's
/// range.
std::vector<float> to_floats(const SafetensorsEntry& entry);
std::vector<double> to_doubles(const SafetensorsEntry& entry);

/// Values of an integer or BOOL entry; Error for another dtype, or where a U64 leaves int64's range.
std::vector<std::int64_t> to_integers(const SafetensorsEntry& entry);

}  // namespace fovea
