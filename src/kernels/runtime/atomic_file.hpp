// Files written whole or not at all.
//
// The bytes go to `.<name>.tmp` in the same folder, are synced to the disk, and only then take the file's
// name (rename(2) is atomic), and the folder is synced so that the new name survives a power cut. A reader,
// or a program started after kill -9, sees the old file or the new one, never a part. The temporary name is
// fixed, so that a killed writer leaves at most one of them, which the next writer of the same file takes
// over; a lock on it keeps two writers apart.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace fovea {

/// A file on its way: write() as often as needed, then commit(). Destroyed without commit(), it leaves
/// nothing behind. Every failure is an Error that names the file (folder missing, no permission, disk full).
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  void commit();

 private:
  void open_locked();
  void give_up() noexcept;

  std::string path_, folder_, temporary_;
  int file_ = -1;
};

void write_file_atomically(const std::string& path, std::string_view bytes);
void write_file_atomically(const std::string& path, const std::function<void(AtomicFile&)>& writer);

/// For files in a folder of the program's own: makes it where it is missing.
void make_folder_of(const std::string& path);

}  // namespace fovea
