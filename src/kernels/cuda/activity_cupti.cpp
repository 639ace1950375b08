// A build with CUPTI's headers: activity records, asynchronously collected (CUPTI's documentation, "Activity API"). CUPTI asks for
// a buffer when it has something to write and gives it back full, on a thread of its own. Times are on the steady clock, since
// it is told to take its own from there.
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <mutex>

#include "kernels/cuda/cupti_records.hpp"
#include "kernels/cuda/device_activity.hpp"
#include "kernels/cuda/library_answer.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

#define FOVEA_CALLS(one)                                                                               \
  one(GetVersion) one(GetResultString) one(ActivityEnable) one(ActivityDisable) one(ActivityFlushAll)  \
      one(ActivityRegisterCallbacks) one(ActivityRegisterTimestampCallback) one(ActivityGetNextRecord) \
          one(ActivityGetNumDroppedRecords) one(ActivityPushExternalCorrelationId)                     \
              one(ActivityPopExternalCorrelationId)

struct Library {
  LibraryAnswer answer;
#define FOVEA_CALL(name) decltype(&::cupti##name) name = nullptr;
  FOVEA_CALLS(FOVEA_CALL)
#undef FOVEA_CALL
};

Library load() {
  Library library;
  LibraryAnswer& answer = library.answer;
  answer.name = "CUPTI";
  answer.file = "libcupti.so.13";
  answer.needed = 130000;
  LibraryFunctions functions(load_library(answer, FOVEA_CUPTI_LIBRARIES));
#define FOVEA_CALL(name) functions.find("cupti" #name, library.name);
  FOVEA_CALLS(FOVEA_CALL)
#undef FOVEA_CALL
#undef FOVEA_CALLS
  std::uint32_t version = 0;
  if (functions.complete() && library.GetVersion(&version) == CUPTI_SUCCESS)
    answer.version = static_cast<int>(version);
  return library;
}

const Library& cupti() {
  static const Library loaded = load();
  return loaded;
}

void check(CUptiResult result, const char* what) {
  if (result == CUPTI_SUCCESS) return;
  const char* words = nullptr;
  cupti().GetResultString(result, &words);
  fail(fmt::format("{}: CUPTI answered {}", what,
                   words == nullptr ? fmt::format("{}", static_cast<int>(result)) : words));
}

constexpr CUpti_ActivityKind kinds[] = {CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION,
                                        CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, CUPTI_ACTIVITY_KIND_MEMCPY,
                                        CUPTI_ACTIVITY_KIND_MEMSET};
constexpr auto external_kind = CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0;
constexpr std::size_t buffer_bytes = std::size_t{4} << 20, buffer_alignment = 8;

// Callbacks know no object: there is one of these, and it never ends.
struct Collected {
  std::mutex mutex;
  CuptiRecords records;
};
Collected& collected() {
  static auto* const instance = new Collected;
  return *instance;
}

std::uint64_t steady_ns() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

void buffer_requested(std::uint8_t** buffer, std::size_t* size, std::size_t* most_records) {
  *buffer = static_cast<std::uint8_t*>(std::aligned_alloc(buffer_alignment, buffer_bytes));
  *size = *buffer == nullptr ? 0 : buffer_bytes;
  *most_records = 0;  // as many as fit
}

void buffer_completed(CUcontext, std::uint32_t, std::uint8_t* buffer, std::size_t, std::size_t valid_bytes) {
  {
    const std::lock_guard lock(collected().mutex);
    CUpti_Activity* record = nullptr;
    while (cupti().ActivityGetNextRecord(buffer, valid_bytes, &record) == CUPTI_SUCCESS)
      collected().records.add(*record);
  }
  std::free(buffer);
}

class CuptiSource : public ActivitySource {
 public:
  void start() override {
    if (!registered_) {
      check(cupti().ActivityRegisterTimestampCallback(&steady_ns), "the clock of a profile");
      check(cupti().ActivityRegisterCallbacks(&buffer_requested, &buffer_completed), "a profile's buffers");
      registered_ = true;
    }
    for (const CUpti_ActivityKind kind : kinds) check(cupti().ActivityEnable(kind), "a profile's records");
  }
  void stop() noexcept override {
    for (const CUpti_ActivityKind kind : kinds) cupti().ActivityDisable(kind);
    cupti().ActivityFlushAll(0);
    const std::lock_guard lock(collected().mutex);
    collected().records.take();
  }
  void push(std::uint64_t id) override {
    check(cupti().ActivityPushExternalCorrelationId(external_kind, id), "a dispatch in a profile");
  }
  void pop() noexcept override {
    std::uint64_t id = 0;
    cupti().ActivityPopExternalCorrelationId(external_kind, &id);
  }
  std::vector<Record> take() override {
    check(cupti().ActivityFlushAll(0), "a profile's records");
    std::size_t dropped = 0;
    check(cupti().ActivityGetNumDroppedRecords(nullptr, 0, &dropped), "a profile's records");
    if (dropped > 0) {
      fail(
          fmt::format("CUPTI lost {} records of a profile's step, as it does where memory is short; free "
                      "some, or profile "
                      "fewer images at a time",
                      dropped));
    }
    const std::lock_guard lock(collected().mutex);
    return collected().records.take();
  }

 private:
  bool registered_ = false;
};

}  // namespace

ActivitySource* device_activity(std::string& why) {
  why = sentence_of(cupti().answer);
  static CuptiSource source;
  return why.empty() ? &source : nullptr;
}

}  // namespace fovea
