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

// Opens no more than the blocks of the two addresses, which may be the host's.
template <class F>
void ProtectedMemory::touching(void* to, const void* from, F&& work) {
  const std::scoped_lock lock(mutex_);
  if (open_ > 0) return work();
  const auto protect = [&](int access) {
    for (const void* data : {static_cast<const void*>(to), from}) {
      const auto block = block_around(data);
      if (block != blocks_.end()) mprotect(block->first, block->second.mapped, access);
    }
  };
  protect(PROT_READ | PROT_WRITE);
  work();
  protect(PROT_NONE);
}

void ProtectedMemory::copy(void* to, const void* from, std::int64_t bytes) {
  touching(to, from, [&] { std::memmove(to, from, static_cast<std::size_t>(bytes)); });
}

void ProtectedMemory::fill(void* data, unsigned char byte, std::int64_t bytes) {
  touching(data, nullptr, [&] { std::memset(data, byte, static_cast<std::size_t>(bytes)); });
}

std::int64_t ProtectedMemory::used() const {
  const std::scoped_lock lock(mutex_);
  return used_;
}

std::size_t ProtectedMemory::blocks() const {
  const std::scoped_lock lock(mutex_);
  return blocks_.size();
}

std::map<void*, ProtectedMemory::Block>::iterator ProtectedMemory::block_around(const void* data) {
  auto block = blocks_.upper_bound(const_cast<void*>(data));
  if (block == blocks_.begin()) return blocks_.end();
  --block;
  const auto* end = static_cast<const std::byte*>(block->first) + block->second.mapped;
  return static_cast<const std::byte*>(data) < end ? block : blocks_.end();
}

// Neighbours in one call.
void ProtectedMemory::protect(int access) {
  for (auto block = blocks_.begin(); block != blocks_.end();) {
    auto* const begin = static_cast<std::byte*>(block->first);
    std::byte* end = begin;
    for (; block != blocks_.end() && block->first == end; ++block) end += block->second.mapped;
    mprotect(begin, static_cast<std::size_t>(end - begin), access);
  }
}

}  // namespace fovea
