// safetensors: the header is read by a SAX state machine, which (unlike a DOM) sees duplicate keys, never
// recurses whatever the nesting, and refuses everything but the one shape a header may have at the first byte
// that differs.
#include "nn/safetensors.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "kernels/runtime/atomic_file.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/names.hpp"

namespace fovea {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

constexpr std::uint64_t header_cap = 100'000'000;
constexpr std::string_view metadata_key = "__metadata__";
constexpr std::string_view again = "get the file again, or write it again with its own tool";

/// In the reference's order, which is the order of sizes; files hold the last of them first.
struct DtypeInfo {
  std::string_view name;
  std::uint64_t size;
};
constexpr std::array<DtypeInfo, 13> dtypes{{{"BOOL", 1},
                                            {"U8", 1},
                                            {"I8", 1},
                                            {"I16", 2},
                                            {"U16", 2},
                                            {"F16", 2},
                                            {"BF16", 2},
                                            {"I32", 4},
                                            {"U32", 4},
                                            {"F32", 4},
                                            {"F64", 8},
                                            {"I64", 8},
                                            {"U64", 8}}};

const DtypeInfo* find_dtype(std::string_view name) {
  const auto found =
      std::find_if(dtypes.begin(), dtypes.end(), [&](const DtypeInfo& d) { return d.name == name; });
  return found == dtypes.end() ? nullptr : &*found;
}

std::string known_dtypes() {
  std::vector<std::string_view> names;
  for (const DtypeInfo& dtype : dtypes) names.push_back(dtype.name);
  return fmt::format("{}", fmt::join(names, " "));
}

/// A name for a message: cut short, control characters and bytes that are not ASCII left out of the
/// terminal's way.
std::string shown(std::string_view name) {
  constexpr std::size_t longest = 120;
  std::string text;
  for (const char c : name.substr(0, longest)) text += (c >= 0x20 && c != 0x7f) || (c & 0x80) ? c : '?';
  return name.size() > longest ? text + "..." : text;
}

/// Bytes of an array; false where a dimension is negative or the product overflows.
bool byte_count(const std::vector<std::int64_t>& shape, std::uint64_t element, std::uint64_t& bytes) {
  bytes = element;
  for (const std::int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(bytes, static_cast<std::uint64_t>(size), &bytes)) return false;
  }
  return true;
}

struct HeaderTensor {
  std::string name, dtype;
  std::vector<std::int64_t> shape;
  std::vector<std::uint64_t> offsets;
  bool has_dtype = false, has_shape = false, has_offsets = false;
};

/// Events of the JSON parser -> tensors and metadata.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(const std::string& path) : path_(path) {}

  std::vector<HeaderTensor> tensors;
  std::map<std::string, std::string> metadata;

  bool start_object(std::size_t) override {
    if (place_ == Place::start) return go(Place::top);
    if (place_ != Place::top) unexpected("an object");
    if (!in_metadata_) tensors.push_back({.name = name_, .dtype = {}, .shape = {}, .offsets = {}});
    return go(in_metadata_ ? Place::metadata : Place::tensor);
  }

  bool end_object() override {
    if (place_ == Place::tensor) check_complete(tensors.back());
    return go(place_ == Place::top ? Place::end : Place::top);
  }

  bool key(std::string& text) override {
    if (place_ == Place::top) {
      if (!names_.insert(text).second) bad(fmt::format("'{}' is in it twice", shown(text)));
      name_ = text;
      in_metadata_ = text == metadata_key;
    } else if (place_ == Place::metadata) {
      if (metadata.contains(text)) bad(fmt::format("metadata key '{}' is in it twice", shown(text)));
    } else if (text != "dtype" && text != "shape" && text != "data_offsets") {
      bad(fmt::format("tensor '{}' has an unknown field '{}'", shown(name_), shown(text)));
    }
    field_ = text;
    return true;
  }

  bool string(std::string& text) override {
    if (place_ == Place::metadata) {
      metadata.emplace(field_, text);
    } else if (place_ == Place::tensor && field_ == "dtype") {
      once(tensors.back().has_dtype);
      tensors.back().dtype = text;
    } else {
      unexpected("a string");
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::tensor || field_ == "dtype") unexpected("a list");
    once(field_ == "shape" ? tensors.back().has_shape : tensors.back().has_offsets);
    return go(Place::list);
  }

  bool end_array() override { return go(Place::tensor); }

  bool number_unsigned(std::uint64_t value) override {
    if (place_ != Place::list) unexpected("a number");
    if (field_ == "data_offsets") {
      tensors.back().offsets.push_back(value);
    } else if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      unexpected("a number that is too large");
    } else {
      tensors.back().shape.push_back(static_cast<std::int64_t>(value));
    }
    return true;
  }

  bool number_integer(std::int64_t) override { unexpected("a negative number"); }
  bool number_float(double, const std::string&) override { unexpected("a number that is not a whole one"); }
  bool null() override { unexpected("null"); }
  bool boolean(bool) override { unexpected("a boolean"); }
  bool binary(nlohmann::json::binary_t&) override { unexpected("binary data"); }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    bad(fmt::format("its header is not valid JSON (byte {} of it)", position));
  }

 private:
  enum class Place { start, top, metadata, tensor, list, end };

  [[noreturn]] void bad(const std::string& what) const {
    fail(fmt::format("{} is not a usable safetensors file: {}; {}", path_, what, again));
  }

  [[noreturn]] void unexpected(const char* what) const {
    if (place_ == Place::start) bad(fmt::format("its header is {} instead of an object", what));
    if (place_ == Place::top) bad(fmt::format("'{}' is {} instead of an object", shown(name_), what));
    bad(fmt::format("field '{}' of '{}' has {} where it must not", shown(field_), shown(name_), what));
  }

  void once(bool& seen) const {
    if (seen) bad(fmt::format("tensor '{}' has field '{}' twice", shown(name_), field_));
    seen = true;
  }

  void check_complete(const HeaderTensor& tensor) const {
    const char* missing = !tensor.has_dtype     ? "dtype"
                          : !tensor.has_shape   ? "shape"
                          : !tensor.has_offsets ? "data_offsets"
                                                : nullptr;
    if (missing) bad(fmt::format("tensor '{}' has no field '{}'", shown(tensor.name), missing));
    if (tensor.offsets.size() != 2) {
      bad(fmt::format("tensor '{}' has {} data offsets instead of 2", shown(tensor.name),
                      tensor.offsets.size()));
    }
  }

  bool go(Place place) {
    place_ = place;
    return true;
  }

  const std::string& path_;
  Place place_ = Place::start;
  std::set<std::string> names_;
  std::string name_, field_;
  bool in_metadata_ = false;
};

/// An open file that closes itself and reads exactly what it is asked for.
class InputFile {
 public:
  explicit InputFile(const std::string& path)
      : path_(path), file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (file_ < 0) fail(fmt::format("cannot open {}: {}; check the path", path, std::strerror(errno)));
    struct stat status {};
    if (::fstat(file_, &status) != 0 || !S_ISREG(status.st_mode)) {
      ::close(file_);
      fail(fmt::format("cannot read {}: it is not a file; name a .safetensors file", path));
    }
    size_ = static_cast<std::uint64_t>(status.st_size);
  }
  ~InputFile() { ::close(file_); }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  std::uint64_t size() const { return size_; }

  void read(void* to, std::uint64_t bytes) {
    auto* out = static_cast<std::byte*>(to);
    while (bytes > 0) {
      const ssize_t got = ::read(file_, out, std::min<std::uint64_t>(bytes, std::uint64_t{1} << 30));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail(fmt::format("cannot read {}: {}; see to the disk", path_, std::strerror(errno)));
      if (got == 0) fail(fmt::format("{} became shorter while it was read; read it again", path_));
      out += got;
      bytes -= static_cast<std::uint64_t>(got);
    }
  }

 private:
  const std::string& path_;
  int file_;
  std::uint64_t size_ = 0;
};

HeaderReader read_header(const std::string& path, InputFile& file, std::uint64_t& header_size) {
  const auto bad = [&](const std::string& what) {
    fail(fmt::format("{} is not a usable safetensors file: {}; {}", path, what, again));
  };
  if (file.size() < 8)
    bad(fmt::format("it has {} bytes and needs 8 for the length of its header", file.size()));
  file.read(&header_size, 8);
  if (header_size > header_cap)
    bad(fmt::format("its header claims {} bytes, over the cap of {}", header_size, header_cap));
  if (header_size > file.size() - 8) {
    bad(fmt::format("its header claims {} bytes and {} are there", header_size, file.size() - 8));
  }
  std::string text(header_size, '\0');
  file.read(text.data(), header_size);
  if (text.empty() || text.front() != '{') bad("its header does not begin with '{'");
  // The parser takes a zero byte for the end of the text and would pass over all that follows.
  if (text.find('\0') != std::string::npos) bad("its header holds a zero byte");
  HeaderReader reader(path);
  nlohmann::json::sax_parse(text, &reader);
  return reader;
}

/// Checks each tensor on its own and all together; returns the size of the data part.
std::uint64_t check_layout(const std::string& path, std::vector<HeaderTensor>& tensors) {
  std::sort(tensors.begin(), tensors.end(), [](const HeaderTensor& a, const HeaderTensor& b) {
    return std::tie(a.offsets, a.name) < std::tie(b.offsets, b.name);
  });
  std::uint64_t end = 0;
  for (const HeaderTensor& tensor : tensors) {
    const auto bad = [&](const std::string& what) {
      fail(fmt::format("{} is not a usable safetensors file: tensor '{}' {}; {}", path, shown(tensor.name),
                       what, again));
    };
    const DtypeInfo* dtype = find_dtype(tensor.dtype);
    if (!dtype) {
      fail(
          fmt::format("{}: tensor '{}' has dtype '{}', which is not known here (known: {}); convert it first",
                      path, shown(tensor.name), shown(tensor.dtype), known_dtypes()));
    }
    std::uint64_t bytes = 0;
    if (!byte_count(tensor.shape, dtype->size, bytes)) bad("has a shape whose size overflows");
    if (tensor.offsets[1] < tensor.offsets[0]) bad("ends before it begins");
    if (tensor.offsets[1] - tensor.offsets[0] != bytes) {
      bad(fmt::format("has {} bytes and its shape and dtype need {}", tensor.offsets[1] - tensor.offsets[0],
                      bytes));
    }
    if (tensor.offsets[0] < end) bad("overlaps another one");
    if (tensor.offsets[0] > end)
      bad(fmt::format("leaves a hole of {} bytes before it", tensor.offsets[0] - end));
    end = tensor.offsets[1];
  }
  return end;
}

struct PlannedEntry {
  const SafetensorsEntry* entry;
  std::size_t rank;  // of its dtype
};

std::vector<PlannedEntry> plan_entries(const std::string& path, std::span<const SafetensorsEntry> entries) {
  std::vector<PlannedEntry> plan;
  std::set<std::string_view> names;
  for (const SafetensorsEntry& entry : entries) {
    const auto bad = [&](const std::string& what) {
      fail(fmt::format("cannot write {}: tensor '{}' {}", path, shown(entry.name), what));
    };
    const DtypeInfo* dtype = find_dtype(entry.dtype);
    if (!dtype)
      bad(fmt::format("has the unknown dtype '{}' (known: {})", shown(entry.dtype), known_dtypes()));
    if (entry.name == metadata_key) bad("has a reserved name; choose another");
    if (!names.insert(entry.name).second) bad("is given twice; give each name once");
    std::uint64_t bytes = 0;
    if (!byte_count(entry.shape, dtype->size, bytes) || bytes != entry.data.size()) {
      bad(fmt::format("has {} bytes, which do not fit shape [{}] of {}", entry.data.size(),
                      fmt::join(entry.shape, ", "), entry.dtype));
    }
    plan.push_back({&entry, static_cast<std::size_t>(dtype - dtypes.data())});
  }
  std::sort(plan.begin(), plan.end(), [](const PlannedEntry& a, const PlannedEntry& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.entry->name < b.entry->name;
  });
  return plan;
}

std::string header_text(const std::string& path, const std::vector<PlannedEntry>& plan,
                        const std::map<std::string, std::string>& metadata) {
  auto header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[std::string(metadata_key)] = metadata;
  std::string text;
  try {
    // Written piece by piece: an ordered_json object searches all its keys at each insertion.
    text = header.dump();
    text.pop_back();
    std::uint64_t offset = 0;
    for (const auto& [entry, rank] : plan) {
      const std::uint64_t end = offset + entry->data.size();
      text += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                          text.size() > 1 ? "," : "", nlohmann::json(entry->name).dump(), entry->dtype,
                          fmt::join(entry->shape, ","), offset, end);
      offset = end;
    }
  } catch (const nlohmann::json::exception&) {
    fail(fmt::format("cannot write {}: a tensor's name or the metadata is not UTF-8 text", path));
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > header_cap)
    fail(fmt::format("cannot write {}: its header would be over {} bytes", path, header_cap));
  return text;
}

template <class T>
SafetensorsEntry owned_entry(std::string name, std::vector<std::int64_t> shape, const char* dtype,
                             std::vector<T> values) {
  std::uint64_t bytes = 0;
  if (!byte_count(shape, sizeof(T), bytes) || bytes != values.size() * sizeof(T)) {
    fail(fmt::format("tensor '{}' has {} values, which do not fit shape [{}]", shown(name), values.size(),
                     fmt::join(shape, ", ")));
  }
  const auto owner = std::make_shared<const std::vector<T>>(std::move(values));
  return {std::move(name), dtype, std::move(shape), std::as_bytes(std::span<const T>(*owner)), owner};
}

/// Values of type `From` in the entry's bytes, each through `convert`.
template <class From, class To, class Convert>
std::vector<To> converted(const SafetensorsEntry& entry, Convert convert) {
  std::vector<To> values(entry.data.size() / sizeof(From));
  for (std::size_t i = 0; i < values.size(); ++i) {
    From value;
    std::memcpy(&value, entry.data.data() + i * sizeof(From), sizeof(From));
    values[i] = convert(value);
  }
  return values;
}

float from_bf16(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

/// IEEE binary16 -> binary32, exact: subnormals (value = mantissa * 2^-24), infinities and NaN payloads
/// included.
float from_f16(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fu, mantissa = bits & 0x3ffu;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  const std::uint32_t wide = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | (wide << 23) | (mantissa << 13));
}

template <class To>
std::vector<To> to_reals(const SafetensorsEntry& entry) {
  const auto same = [](auto value) { return static_cast<To>(value); };
  if (entry.dtype == "F32") return converted<float, To>(entry, same);
  if (entry.dtype == "F16")
    return converted<std::uint16_t, To>(entry, [](std::uint16_t v) { return To{from_f16(v)}; });
  if (entry.dtype == "BF16")
    return converted<std::uint16_t, To>(entry, [](std::uint16_t v) { return To{from_bf16(v)}; });
  if (entry.dtype != "F64") {
    fail(fmt::format("tensor '{}' has dtype {} where floating-point numbers are needed (F32, F64, F16, BF16)",
                     shown(entry.name), shown(entry.dtype)));
  }
  return converted<double, To>(entry, [&](double value) {
    if (std::isfinite(value) && std::abs(value) > std::numeric_limits<To>::max()) {
      fail(fmt::format("tensor '{}' holds {}, which does not fit 32-bit numbers; use --dtype f64",
                       shown(entry.name), value));
    }
    return static_cast<To>(value);
  });
}

}  // namespace

SafetensorsFile SafetensorsFile::open(const std::string& path) {
  InputFile file(path);
  std::uint64_t header_size = 0;
  HeaderReader header = read_header(path, file, header_size);
  const std::uint64_t needed = check_layout(path, header.tensors), there = file.size() - 8 - header_size;
  if (needed != there) {
    fail(fmt::format(
        "{} is not a usable safetensors file: its tensors need {} bytes and {} are there ({}); {}", path,
        needed, there, there < needed ? "it was cut short" : "something was appended", again));
  }
  const std::shared_ptr<std::byte[]> bytes = std::make_unique_for_overwrite<std::byte[]>(needed);
  file.read(bytes.get(), needed);

  SafetensorsFile result;
  result.path_ = path;
  result.metadata_ = std::move(header.metadata);
  for (HeaderTensor& tensor : header.tensors) {
    const std::span<const std::byte> data(bytes.get() + tensor.offsets[0],
                                          tensor.offsets[1] - tensor.offsets[0]);
    result.index_.emplace(tensor.name, result.entries_.size());
    result.entries_.push_back(
        {std::move(tensor.name), std::move(tensor.dtype), std::move(tensor.shape), data, bytes});
  }
  return result;
}

const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &entries_[found->second];
}

const SafetensorsEntry& SafetensorsFile::at(std::string_view name) const {
  if (const SafetensorsEntry* entry = find(name)) return *entry;
  std::vector<std::string> known;
  for (const SafetensorsEntry& entry : entries_) known.push_back(entry.name);
  fail(fmt::format("{} holds no tensor '{}'{}", path_, shown(name), nearest_hint(name, known)));
}

void write_safetensors(const std::string& path, std::span<const SafetensorsEntry> entries,
                       const std::map<std::string, std::string>& metadata) {
  const std::vector<PlannedEntry> plan = plan_entries(path, entries);
  const std::string header = header_text(path, plan, metadata);
  write_file_atomically(path, [&](AtomicFile& file) {
    const std::uint64_t size = header.size();
    file.write(std::as_bytes(std::span(&size, 1)));
    file.write(header);
    for (const PlannedEntry& planned : plan) file.write(planned.entry->data);
  });
}

SafetensorsEntry safetensors_entry(std::string name, std::vector<std::int64_t> shape,
                                   std::vector<float> values) {
  return owned_entry(std::move(name), std::move(shape), "F32", std::move(values));
}
SafetensorsEntry safetensors_entry(std::string name, std::vector<std::int64_t> shape,
                                   std::vector<double> values) {
  return owned_entry(std::move(name), std::move(shape), "F64", std::move(values));
}
SafetensorsEntry safetensors_entry(std::string name, std::vector<std::int64_t> shape,
                                   std::vector<std::int64_t> values) {
  return owned_entry(std::move(name), std::move(shape), "I64", std::move(values));
}
SafetensorsEntry safetensors_entry(std::string name, std::vector<std::int64_t> shape,
                                   std::vector<std::uint8_t> values) {
  return owned_entry(std::move(name), std::move(shape), "U8", std::move(values));
}

std::int64_t element_count(const SafetensorsEntry& entry) {
  const DtypeInfo* dtype = find_dtype(entry.dtype);
  if (!dtype)
    fail(fmt::format("tensor '{}' has the unknown dtype '{}'", shown(entry.name), shown(entry.dtype)));
  return static_cast<std::int64_t>(entry.data.size() / dtype->size);
}

std::vector<float> to_floats(const SafetensorsEntry& entry) { return to_reals<float>(entry); }
std::vector<double> to_doubles(const SafetensorsEntry& entry) { return to_reals<double>(entry); }

std::vector<std::int64_t> to_integers(const SafetensorsEntry& entry) {
  const auto same = [](auto value) { return static_cast<std::int64_t>(value); };
  if (entry.dtype == "I64") return converted<std::int64_t, std::int64_t>(entry, same);
  if (entry.dtype == "I32") return converted<std::int32_t, std::int64_t>(entry, same);
  if (entry.dtype == "U32") return converted<std::uint32_t, std::int64_t>(entry, same);
  if (entry.dtype == "I16") return converted<std::int16_t, std::int64_t>(entry, same);
  if (entry.dtype == "U16") return converted<std::uint16_t, std::int64_t>(entry, same);
  if (entry.dtype == "I8") return converted<std::int8_t, std::int64_t>(entry, same);
  if (entry.dtype == "U8") return converted<std::uint8_t, std::int64_t>(entry, same);
  if (entry.dtype == "BOOL") {
    return converted<std::uint8_t, std::int64_t>(entry, [](std::uint8_t v) { return std::int64_t{v != 0}; });
  }
  if (entry.dtype != "U64") {
    fail(fmt::format("tensor '{}' has dtype {} where whole numbers are needed (I64, I32, U8, BOOL, ...)",
                     shown(entry.name), shown(entry.dtype)));
  }
  return converted<std::uint64_t, std::int64_t>(entry, [&](std::uint64_t value) {
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      fail(fmt::format("tensor '{}' holds {}, which does not fit 64-bit signed numbers", shown(entry.name),
                       value));
    }
    return static_cast<std::int64_t>(value);
  });
}

}  // namespace fovea
