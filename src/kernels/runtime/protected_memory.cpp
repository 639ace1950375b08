// See protected_memory.hpp.
#include "kernels/runtime/protected_memory.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

namespace fovea {

void* ProtectedMemory::allocate(std::int64_t bytes) {
  const std::scoped_lock lock(mutex_);
  if (used_ + bytes > capacity_) return nullptr;
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t mapped = (static_cast<std::size_t>(bytes) + page - 1) / page * page;
  void* const data = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return nullptr;
  std::memset(data, 0xFF, mapped);
  if (open_ == 0) mprotect(data, mapped, PROT_NONE);
  blocks_[data] = {bytes, mapped};
  used_ += bytes;
  return data;
}

bool ProtectedMemory::release(void* data) {
  const std::scoped_lock lock(mutex_);
  const auto it = blocks_.find(data);
  if (it == blocks_.end()) return false;
  munmap(data, it->second.mapped);
  used_ -= it->second.bytes;
  blocks_.erase(it);
  return true;
}

void ProtectedMemory::release_all() {
  const std::scoped_lock lock(mutex_);
  for (const auto& [data, block] : blocks_) munmap(data, block.mapped);
  blocks_.clear();
  used_ = 0;
}

void ProtectedMemory::open() {
  const std::scoped_lock lock(mutex_);
  if (open_++ == 0) protect(PROT_READ | PROT_WRITE);
}

void ProtectedMemory::close() {
  const std::scoped_lock lock(mutex_);
  if (--open_ == 0) protect(PROT_NONE);
}

void ProtectedMemory::copy(void* to, const void* from, std::int64_t bytes) {
  open();
  std::memmove(to, from, static_cast<std::size_t>(bytes));
  close();
}

void ProtectedMemory::fill(void* data, unsigned char byte, std::int64_t bytes) {
  open();
  std::memset(data, byte, static_cast<std::size_t>(bytes));
  close();
}

std::int64_t ProtectedMemory::used() const {
  const std::scoped_lock lock(mutex_);
  return used_;
}

std::size_t ProtectedMemory::blocks() const {
  const std::scoped_lock lock(mutex_);
  return blocks_.size();
}

void ProtectedMemory::protect(int access) {
  for (const auto& [data, block] : blocks_) mprotect(data, block.mapped, access);
}

}  // namespace fovea
