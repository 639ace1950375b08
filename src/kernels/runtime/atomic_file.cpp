// Files written whole or not at all: temporary file, fsync, rename, fsync of the folder (POSIX).
#include "kernels/runtime/atomic_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

[[noreturn]] void fail_write(const std::string& path, const char* step, int error) {
  const char* advice = error == ENOSPC || error == EDQUOT    ? "free some space and run it again"
                       : error == ENOENT || error == ENOTDIR ? "make the folder first"
                       : error == EACCES || error == EPERM || error == EROFS
                           ? "choose a folder that you may write to"
                           : "see to the disk and run it again";
  fail(fmt::format("cannot write {}: {} failed ({}); {}", path, step, std::strerror(error), advice));
}

template <class Call>
int retried(Call call) {
  int result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

bool same_file(int file, const std::string& name) {
  struct stat open {
  }, named{};
  return ::fstat(file, &open) == 0 && ::lstat(name.c_str(), &named) == 0 && open.st_dev == named.st_dev &&
         open.st_ino == named.st_ino;
}

void sync_folder(const std::string& folder, const std::string& path) {
  const int file = retried([&] { return ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (file < 0) fail_write(path, "opening its folder", errno);
  // Some file systems cannot sync a folder and say EINVAL; the rename is then as safe as it gets there.
  const int error = retried([&] { return ::fsync(file); }) < 0 ? errno : 0;
  ::close(file);
  if (error != 0 && error != EINVAL) fail_write(path, "syncing its folder", error);
}

}  // namespace

AtomicFile::AtomicFile(const std::string& path) : path_(path) {
  const std::filesystem::path target(path);
  if (target.filename().empty()) fail(fmt::format("cannot write '{}': it names no file", path));
  struct stat existing {};
  if (::stat(path.c_str(), &existing) == 0 && !S_ISREG(existing.st_mode)) {
    fail(fmt::format("cannot write {}: it exists and is not a file; choose another name", path));
  }
  folder_ = target.has_parent_path() ? target.parent_path().string() : ".";
  temporary_ = (std::filesystem::path(folder_) / fmt::format(".{}.tmp", target.filename().string())).string();
  open_locked();
}

AtomicFile::~AtomicFile() { give_up(); }

void AtomicFile::open_locked() {
  for (;;) {
    file_ = retried(
        [&] { return ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666); });
    if (file_ < 0) fail_write(path_, "making the temporary file", errno);
    const int locked = retried([&] { return ::flock(file_, LOCK_EX); });
    if (locked < 0 && errno != ENOLCK && errno != EOPNOTSUPP && errno != ENOSYS) {
      const int error = errno;
      ::close(file_);
      file_ = -1;
      fail_write(path_, "locking the temporary file", error);
    }
    // The writer that held the lock may have renamed or removed this very file meanwhile: then begin again.
    if (same_file(file_, temporary_)) break;
    ::close(file_);
    file_ = -1;
  }
  if (retried([&] { return ::ftruncate(file_, 0); }) < 0) {
    const int error = errno;
    give_up();
    fail_write(path_, "emptying the temporary file", error);
  }
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  if (file_ < 0) fail(fmt::format("cannot write {}: it is already finished", path_));
  constexpr std::size_t most_at_once = std::size_t{1} << 30;
  while (!bytes.empty()) {
    const ssize_t written = ::write(file_, bytes.data(), std::min(bytes.size(), most_at_once));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int error = errno;
      give_up();
      fail_write(path_, "writing", error);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void AtomicFile::write(std::string_view text) {
  write(std::as_bytes(std::span<const char>(text.data(), text.size())));
}

void AtomicFile::commit() {
  if (file_ < 0) fail(fmt::format("cannot write {}: it is already finished", path_));
  const char* step = "syncing";
  int error = retried([&] { return ::fsync(file_); }) < 0 ? errno : 0;
  if (error == 0) {
    step = "renaming";
    error = ::rename(temporary_.c_str(), path_.c_str()) < 0 ? errno : 0;
  }
  if (error != 0) {
    give_up();
    fail_write(path_, step, error);
  }
  ::close(file_);
  file_ = -1;
  sync_folder(folder_, path_);
}

void AtomicFile::give_up() noexcept {
  if (file_ < 0) return;
  ::unlink(temporary_.c_str());
  ::close(file_);
  file_ = -1;
}

void write_file_atomically(const std::string& path, std::string_view bytes) {
  write_file_atomically(path, [&](AtomicFile& file) { file.write(bytes); });
}

void write_file_atomically(const std::string& path, const std::function<void(AtomicFile&)>& writer) {
  AtomicFile file(path);
  writer(file);
  file.commit();
}

void make_folder_of(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code error;
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  if (error) fail_write(path, "making its folder", error.value());
}

}  // namespace fovea
