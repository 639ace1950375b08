// safetensors and atomic files: round trips, the reference implementation's bytes, every kind of malformed
// file.
#include "nn/safetensors.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>
#include <thread>

#include "kernels/runtime/atomic_file.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "fovea-safetensors-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  std::size_t count() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path_), {}));
  }

 private:
  std::filesystem::path path_;
};

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void put(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string with_length(const std::string& header, const std::string& data = {}) {
  const std::uint64_t size = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &size, 8);
  return bytes + header + data;
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

SafetensorsEntry raw(std::string name, std::string dtype, std::vector<std::int64_t> shape,
                     std::string_view data) {
  return {std::move(name), std::move(dtype), std::move(shape),
          std::as_bytes(std::span<const char>(data.data(), data.size())), nullptr};
}

std::vector<SafetensorsEntry> sample_entries() {
  return {safetensors_entry("b", {2, 2}, std::vector<float>{1, -2.5f, 0, 1e30f}),
          safetensors_entry("a", {3}, std::vector<double>{0.1, -1e300, 7}),
          safetensors_entry("n", {}, std::vector<std::int64_t>{-5}),
          safetensors_entry("empty", {0, 4}, std::vector<float>{}),
          safetensors_entry("mask", {3}, std::vector<std::uint8_t>{1, 0, 1})};
}

TEST(Safetensors, RoundTrip) {
  const TemporaryFolder folder;
  const std::string path = folder.file("x.safetensors");
  const std::map<std::string, std::string> metadata{{"format", "pt"}, {"quote", "\"\n\xc3\xa9"}};
  write_safetensors(path, sample_entries(), metadata);
  const SafetensorsFile file = SafetensorsFile::open(path);
  EXPECT_EQ(file.metadata(), metadata);
  ASSERT_EQ(file.entries().size(), 5u);
  EXPECT_EQ(to_floats(file.at("b")), (std::vector<float>{1, -2.5f, 0, 1e30f}));
  EXPECT_EQ(file.at("b").shape, (std::vector<std::int64_t>{2, 2}));
  EXPECT_EQ(to_doubles(file.at("a")), (std::vector<double>{0.1, -1e300, 7}));
  EXPECT_EQ(to_integers(file.at("n")), std::vector<std::int64_t>{-5});
  EXPECT_EQ(element_count(file.at("n")), 1);
  EXPECT_TRUE(file.at("n").shape.empty());
  EXPECT_EQ(element_count(file.at("empty")), 0);
  EXPECT_EQ(to_integers(file.at("mask")), (std::vector<std::int64_t>{1, 0, 1}));
  EXPECT_EQ(file.find("c"), nullptr);
  EXPECT_NE(message_of([&] { file.at("mas"); }).find("mask"), std::string::npos);
}

TEST(Safetensors, EntriesOutliveTheFile) {
  const TemporaryFolder folder;
  write_safetensors(folder.file("x"), sample_entries());
  const SafetensorsEntry entry = SafetensorsFile::open(folder.file("x")).at("b");
  EXPECT_EQ(to_floats(entry).at(1), -2.5f);
}

// The bytes that the Python package safetensors (0.8.0) writes for these arrays.
TEST(Safetensors, BytesOfTheReferenceImplementation) {
  const TemporaryFolder folder;
  const std::vector<SafetensorsEntry> entries{
      raw("z", "U8", {1}, "\x01"), raw("y", "F32", {1}, "abcd"),     raw("x", "F32", {1}, "efgh"),
      raw("w", "F16", {1}, "ij"),  raw("v", "I64", {1}, "klmnopqr"), raw("u", "F64", {1}, "stuvwxyz")};
  write_safetensors(folder.file("x"), entries, {{"format", "pt"}});
  std::string header =
      R"({"__metadata__":{"format":"pt"},"v":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
      R"("u":{"dtype":"F64","shape":[1],"data_offsets":[8,16]},"x":{"dtype":"F32","shape":[1],"data_offsets":[16,20]},)"
      R"("y":{"dtype":"F32","shape":[1],"data_offsets":[20,24]},"w":{"dtype":"F16","shape":[1],"data_offsets":[24,26]},)"
      R"("z":{"dtype":"U8","shape":[1],"data_offsets":[26,27]}})";
  while (header.size() % 8 != 0) header += ' ';
  EXPECT_EQ(bytes_of(folder.file("x")), with_length(header, "klmnopqrstuvwxyzefghabcdij\x01"));
}

TEST(Safetensors, EmptyFile) {
  const TemporaryFolder folder;
  write_safetensors(folder.file("x"), {});
  EXPECT_EQ(bytes_of(folder.file("x")), with_length("{}      "));
  EXPECT_TRUE(SafetensorsFile::open(folder.file("x")).entries().empty());
}

TEST(Safetensors, HalfPrecisionIsExact) {
  const std::uint16_t halves[] = {0x0000, 0x8000, 0x3c00, 0xc000, 0x0001, 0x03ff,
                                  0x0400, 0x7bff, 0x7c00, 0xfc00, 0x3555};
  const float expected[] = {0.f,      -0.f,    1.f,      -2.f,      0x1p-24f,   0x3ffp-24f,
                            0x1p-14f, 65504.f, INFINITY, -INFINITY, 0x1.554p-2f};
  const std::vector<float> got = to_floats({"h", "F16", {11}, std::as_bytes(std::span(halves)), nullptr});
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(got[i]), std::bit_cast<std::uint32_t>(expected[i])) << i;
  }
  const std::uint16_t nan = 0x7e00, one = 0x3f80, brain_pi = 0x4049;
  EXPECT_TRUE(std::isnan(to_floats({"h", "F16", {}, std::as_bytes(std::span(&nan, 1)), nullptr})[0]));
  EXPECT_EQ(to_doubles({"h", "BF16", {}, std::as_bytes(std::span(&one, 1)), nullptr})[0], 1.0);
  EXPECT_EQ(to_floats({"h", "BF16", {}, std::as_bytes(std::span(&brain_pi, 1)), nullptr})[0], 3.140625f);
}

TEST(Safetensors, ConversionsThatWouldLoseAreRefused) {
  EXPECT_NE(
      message_of([] { to_floats(safetensors_entry("big", {1}, std::vector<double>{1e39})); }).find("'big'"),
      std::string::npos);
  EXPECT_TRUE(std::isinf(to_floats(safetensors_entry("x", {1}, std::vector<double>{INFINITY}))[0]));
  EXPECT_NE(
      message_of([] { to_floats(safetensors_entry("x", {1}, std::vector<std::uint8_t>{1})); }).find("U8"),
      std::string::npos);
  EXPECT_NE(message_of([] { to_integers(safetensors_entry("x", {1}, std::vector<float>{1})); }).find("F32"),
            std::string::npos);
  EXPECT_NE(
      message_of([] { to_integers(raw("x", "U64", {1}, "\xff\xff\xff\xff\xff\xff\xff\xff")); }).find("'x'"),
      std::string::npos);
  EXPECT_EQ(to_integers(raw("x", "I16", {2}, std::string_view("\xff\xff\x02\x00", 4))),
            (std::vector<std::int64_t>{-1, 2}));
}

struct BadWrite {
  const char* why;
  std::vector<SafetensorsEntry> entries;
  const char* says;
};

TEST(Safetensors, BadWritesAreRefusedAndLeaveNothing) {
  const TemporaryFolder folder;
  const BadWrite cases[] = {
      {"twice", {raw("a", "U8", {1}, "x"), raw("a", "U8", {1}, "x")}, "given twice"},
      {"reserved", {raw("__metadata__", "U8", {1}, "x")}, "reserved"},
      {"dtype", {raw("a", "F8", {1}, "x")}, "unknown dtype 'F8'"},
      {"short", {raw("a", "F32", {1}, "x")}, "do not fit shape [1]"},
      {"negative", {raw("a", "U8", {-1}, "x")}, "do not fit shape"},
      {"overflow", {raw("a", "U8", {std::int64_t{1} << 40, std::int64_t{1} << 40}, "x")}, "do not fit shape"},
      {"utf-8", {raw("\xff", "U8", {1}, "x")}, "not UTF-8"},
  };
  for (const BadWrite& bad : cases) {
    const std::string message = message_of([&] { write_safetensors(folder.file("x"), bad.entries); });
    EXPECT_NE(message.find(bad.says), std::string::npos) << bad.why << ": " << message;
  }
  EXPECT_NE(message_of([] { safetensors_entry("a", {2}, std::vector<float>{1}); }).find("'a'"),
            std::string::npos);
  EXPECT_EQ(folder.count(), 0u);
}

std::string tensor(const std::string& name, const std::string& fields) {
  return fmt::format("\"{}\":{{{}}}", name, fields);
}

std::string f32(const std::string& name, const std::string& shape, std::uint64_t begin, std::uint64_t end) {
  return tensor(name, fmt::format(R"("dtype":"F32","shape":[{}],"data_offsets":[{},{}])", shape, begin, end));
}

struct BadFile {
  const char* why;
  std::string bytes;
  const char* says;
};

std::vector<BadFile> bad_files() {
  const std::string eight(8, 'd'), good = f32("a", "2", 0, 8);
  std::string huge = with_length("{}"), cap = huge;
  huge.replace(0, 8, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
  cap.replace(0, 8, std::string("\x01\xe1\xf5\x05\0\0\0\0", 8));
  std::string deep = "{\"a\":", lists = "{\"a\":{\"shape\":";
  for (int i = 0; i < 200000; ++i) deep += "{\"a\":", lists += '[';
  const auto fields = [&](const std::string& text) {
    return with_length("{" + tensor("a", text) + "}", eight);
  };
  return {
      {"empty", "", "needs 8"},
      {"seven bytes", "1234567", "needs 8"},
      {"header length 2^64-1", huge, "over the cap"},
      {"header length just over the cap", cap, "over the cap"},
      {"header cut", with_length("{" + good + "}").substr(0, 30), "are there"},
      {"no header", with_length(""), "begin with '{'"},
      {"leading space", with_length(" {}"), "begin with '{'"},
      {"list", with_length("[]"), "begin with '{'"},
      {"not JSON", with_length("{nonsense}"), "not valid JSON"},
      {"unfinished", with_length("{\"a\":"), "not valid JSON"},
      {"something after the header", with_length("{}x"), "not valid JSON"},
      {"second object", with_length("{}{}"), "not valid JSON"},
      {"zero byte hides the rest", with_length(std::string("{}\0{\"a\":1}", 10)), "zero byte"},
      {"not UTF-8", with_length("{\"\xff\":{}}"), "not valid JSON"},
      {"trailing comma", with_length("{" + good + ",}", eight), "not valid JSON"},
      {"deep objects", with_length(deep), "unknown field"},
      {"deep lists", with_length(lists), "a list where it must not"},
      {"tensor is a number", with_length("{\"a\":1}"), "'a' is a number instead of an object"},
      {"tensor is null", with_length("{\"a\":null}"), "'a' is null"},
      {"duplicate tensor", with_length("{" + good + "," + good + "}", eight), "'a' is in it twice"},
      {"duplicate metadata", with_length(R"({"__metadata__":{},"__metadata__":{}})"), "in it twice"},
      {"duplicate metadata key", with_length(R"({"__metadata__":{"k":"1","k":"2"}})"), "metadata key 'k'"},
      {"metadata not a string", with_length(R"({"__metadata__":{"k":1}})"), "has a number where"},
      {"metadata nested", with_length(R"({"__metadata__":{"k":{}}})"), "has an object where"},
      {"metadata is a string", with_length(R"({"__metadata__":"k"})"), "is a string instead"},
      {"duplicate dtype", fields(R"("dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8])"),
       "'dtype' twice"},
      {"duplicate shape", fields(R"("dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8])"),
       "'shape' twice"},
      {"unknown field", fields(R"("dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1)"),
       "unknown field 'x'"},
      {"no dtype", fields(R"("shape":[2],"data_offsets":[0,8])"), "no field 'dtype'"},
      {"no shape", fields(R"("dtype":"F32","data_offsets":[0,8])"), "no field 'shape'"},
      {"no offsets", fields(R"("dtype":"F32","shape":[2])"), "no field 'data_offsets'"},
      {"one offset", fields(R"("dtype":"F32","shape":[2],"data_offsets":[0])"), "1 data offsets"},
      {"three offsets", fields(R"("dtype":"F32","shape":[2],"data_offsets":[0,8,8])"), "3 data offsets"},
      {"unknown dtype", fields(R"("dtype":"F7","shape":[2],"data_offsets":[0,8])"), "dtype 'F7'"},
      {"dtype a list", fields(R"("dtype":["F32"],"shape":[2],"data_offsets":[0,8])"), "a list where"},
      {"dtype a number", fields(R"("dtype":1,"shape":[2],"data_offsets":[0,8])"), "a number where"},
      {"shape a string", fields(R"("dtype":"F32","shape":"2","data_offsets":[0,8])"), "a string where"},
      {"negative shape", fields(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"), "negative number"},
      {"fractional shape", fields(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])"), "not a whole one"},
      {"shape beyond 2^63", fields(R"("dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,8])"),
       "too large"},
      {"shape beyond 2^64", fields(R"("dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,8])"),
       "whole one"},
      {"shape overflows", fields(R"("dtype":"F32","shape":[4611686018427387905,4],"data_offsets":[0,8])"),
       "overflows"},
      {"product overflows to the right size",
       fields(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0])"), "overflows"},
      {"offsets backwards", fields(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"),
       "ends before it begins"},
      {"offsets and shape differ", fields(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])"), "need 12"},
      {"offset beyond the file", with_length("{" + f32("a", "2000", 0, 8000) + "}", eight), "cut short"},
      {"hole at the start", with_length("{" + f32("a", "1", 4, 8) + "}", eight), "hole of 4 bytes"},
      {"hole between",
       with_length("{" + f32("a", "1", 0, 4) + "," + f32("b", "1", 8, 12) + "}", eight + "dddd"), "hole"},
      {"overlap", with_length("{" + f32("a", "2", 0, 8) + "," + f32("b", "1", 4, 8) + "}", eight),
       "overlaps"},
      {"same bytes twice", with_length("{" + f32("a", "2", 0, 8) + "," + f32("b", "2", 0, 8) + "}", eight),
       "overlaps"},
      {"one byte short", with_length("{" + good + "}", "1234567"), "cut short"},
      {"one byte over", with_length("{" + good + "}", eight + "x"), "appended"},
      {"data without tensors", with_length("{}", eight), "appended"},
  };
}

TEST(Safetensors, MalformedFilesAreRefusedByName) {
  const TemporaryFolder folder;
  const std::string path = folder.file("bad.safetensors");
  for (const BadFile& bad : bad_files()) {
    put(path, bad.bytes);
    const std::string message = message_of([&] { SafetensorsFile::open(path); });
    EXPECT_NE(message.find(bad.says), std::string::npos) << bad.why << ": " << message;
    EXPECT_NE(message.find(path), std::string::npos) << bad.why << ": " << message;
  }
  EXPECT_NE(message_of([&] { SafetensorsFile::open(folder.file("none")); }).find("none"), std::string::npos);
  EXPECT_NE(message_of([&] { SafetensorsFile::open(folder.file(".")); }).find("not a file"),
            std::string::npos);
}

// Every byte of a small file changed in several ways, and the file cut at every length: an Error or a file
// whose entries can all be read, never anything else.
TEST(Safetensors, DamagedFilesNeverCrash) {
  const TemporaryFolder folder;
  const std::string path = folder.file("x");
  write_safetensors(path, sample_entries(), {{"format", "pt"}});
  const std::string good = bytes_of(path);
  const auto survives = [&](const std::string& bytes) {
    put(path, bytes);
    try {
      const SafetensorsFile file = SafetensorsFile::open(path);
      std::size_t total = 0;
      for (const SafetensorsEntry& entry : file.entries()) total += entry.data.size();
      EXPECT_LE(total, bytes.size());
      for (const SafetensorsEntry& entry : file.entries()) message_of([&] { to_doubles(entry); });
      return true;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(path), std::string::npos);
      return false;
    }
  };
  EXPECT_TRUE(survives(good));
  for (std::size_t i = 0; i < good.size(); ++i) EXPECT_FALSE(survives(good.substr(0, i))) << "cut at " << i;
  std::mt19937 random(7);
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (int change = 0; change < 4; ++change) {
      std::string bytes = good;
      bytes[i] = static_cast<char>(change < 2 ? good[i] ^ (1 << (random() % 8)) : random() % 256);
      survives(bytes);
    }
  }
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = good;
    for (int change = 0; change < 3; ++change) {
      const std::size_t at = random() % bytes.size();
      if (random() % 2)
        bytes[at] = "{}[]\":,0129-e"[random() % 13];
      else
        bytes.insert(at, 1, "{}[]\":,0129-e"[random() % 13]);
    }
    survives(bytes);
  }
}

TEST(AtomicFile, ReplacesWholeOrNotAtAll) {
  const TemporaryFolder folder;
  const std::string path = folder.file("x.json");
  write_file_atomically(path, "old");
  EXPECT_EQ(bytes_of(path), "old");
  EXPECT_THROW(write_file_atomically(path,
                                     [](AtomicFile& file) {
                                       file.write("half of the n");
                                       fail("interrupted");
                                     }),
               Error);
  EXPECT_EQ(bytes_of(path), "old");
  EXPECT_EQ(folder.count(), 1u) << "the temporary file was left behind";
  put(folder.file(".x.json.tmp"), "left by a killed writer, and longer than what comes");
  write_file_atomically(path, "new");
  EXPECT_EQ(bytes_of(path), "new");
  EXPECT_EQ(folder.count(), 1u);
}

TEST(AtomicFile, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  EXPECT_NE(message_of([&] { write_file_atomically(folder.file("no/x"), "a"); }).find("make the folder"),
            std::string::npos);
  EXPECT_NE(message_of([&] { write_file_atomically(folder.file("."), "a"); }).find("not a file"),
            std::string::npos);
  EXPECT_NE(message_of([&] { write_file_atomically("", "a"); }).find("names no file"), std::string::npos);
  EXPECT_NE(message_of([&] {
              AtomicFile file(folder.file("x"));
              file.commit();
              file.write("late");
            }).find("already finished"),
            std::string::npos);
}

TEST(AtomicFile, WritersOfOneFileTakeTurns) {
  const TemporaryFolder folder;
  const std::string path = folder.file("x");
  std::vector<std::thread> writers;
  for (int i = 0; i < 4; ++i) {
    writers.emplace_back([&, i] {
      for (int round = 0; round < 10; ++round)
        write_file_atomically(path, std::string(100000, static_cast<char>('a' + i)));
    });
  }
  for (std::thread& writer : writers) writer.join();
  const std::string bytes = bytes_of(path);
  EXPECT_EQ(bytes, std::string(100000, bytes.at(0)));
  EXPECT_EQ(folder.count(), 1u);
}

}  // namespace
}  // namespace fovea
