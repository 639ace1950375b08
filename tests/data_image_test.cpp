// Images: decoding against Pillow's results (golden/image, made by make.py there), malformed files, resize,
// writing.
#include "data/image.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <jpeglib.h>
#include <png.h>

#include <functional>

#include "data_files.hpp"

namespace fovea {
namespace {

using testing::error_of;
using testing::expect_error;
using testing::largest_difference;
using testing::pattern;
using testing::read_file;
using testing::TempFolder;

std::string golden(const std::string& name) {
  return std::string(FOVEA_SOURCE_DIR) + "/tests/golden/image/" + name;
}

// ---- decoding -----------------------------------------------------------------------------------

struct Decoded {
  const char *name, *ending;
};
class Decoding : public ::testing::TestWithParam<Decoded> {};

TEST_P(Decoding, EqualsPillow) {
  const auto [name, ending] = GetParam();
  const std::string given = golden(fmt::format("{}.in.{}", name, ending));
  EXPECT_LE(largest_difference(read_image(given, 3), read_image(golden(fmt::format("{}.rgb.png", name)), 3)),
            1);
  EXPECT_LE(largest_difference(read_image(given, 1), read_image(golden(fmt::format("{}.grey.png", name)), 1)),
            1);
}

INSTANTIATE_TEST_SUITE_P(Formats, Decoding,
                         ::testing::Values(Decoded{"rgb", "jpg"}, Decoded{"progressive", "jpg"},
                                           Decoded{"grey_jpeg", "jpg"}, Decoded{"cmyk", "jpg"},
                                           Decoded{"grey", "png"}, Decoded{"palette", "png"},
                                           Decoded{"bits", "png"}, Decoded{"rgba", "png"},
                                           Decoded{"la", "png"}, Decoded{"transparent", "png"}),
                         [](const auto& info) {
                           return fmt::format("{}_{}", info.param.name, info.param.ending);
                         });

// A PNG by libpng itself: any depth and colour type, rows as given, interlaced or not.
void write_raw_png(const std::string& path, int width, int height, int depth, int color, bool interlaced,
                   std::vector<std::vector<png_byte>> rows) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_init_io(png, file);
  png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), depth, color,
               interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  std::vector<png_bytep> pointers;
  for (auto& row : rows) pointers.push_back(row.data());
  png_set_rows(png, info, pointers.data());
  png_write_png(png, info, PNG_TRANSFORM_IDENTITY, nullptr);
  png_destroy_write_struct(&png, &info);
  std::fclose(file);
}

TEST(Decoding16Bit, IsRoundedTo8) {
  const TempFolder folder;
  const std::string path = folder.path("deep.png");
  // 0x0000, 0x00ff (0.99 levels), 0x80ff (129.0 of 257 a level: 128.49), 0xffff
  write_raw_png(path, 4, 1, 16, PNG_COLOR_TYPE_GRAY, false,
                {{0x00, 0x00, 0x00, 0xff, 0x80, 0xff, 0xff, 0xff}});
  const Image image = read_image(path, 1);
  ASSERT_EQ(image.pixels.size(), 4u);
  EXPECT_EQ(image.pixels[0], 0);
  EXPECT_EQ(image.pixels[1], 1);
  EXPECT_EQ(image.pixels[2], 128);
  EXPECT_EQ(image.pixels[3], 255);
  const Image rgb = read_image(path, 3);
  EXPECT_EQ(rgb.channels, 3);
  EXPECT_EQ(rgb.at(0, 2)[1], 128);
}

TEST(Decoding16Bit, RgbWithAlpha) {
  const TempFolder folder;
  const std::string path = folder.path("deep.png");
  write_raw_png(path, 1, 1, 16, PNG_COLOR_TYPE_RGB_ALPHA, false,
                {{0xff, 0xff, 0x80, 0x80, 0x00, 0x00, 0x80, 0x80}});
  EXPECT_EQ(read_image(path).pixels, (std::vector<std::uint8_t>{128, 64, 0}));
}

TEST(DecodingInterlaced, IsTheSamePicture) {
  const TempFolder folder;
  const Image image = pattern(19, 13, 3);
  std::vector<std::vector<png_byte>> rows;
  for (int y = 0; y < image.height; ++y) rows.emplace_back(image.at(y, 0), image.at(y, 0) + image.width * 3);
  write_raw_png(folder.path("i.png"), image.width, image.height, 8, PNG_COLOR_TYPE_RGB, true, rows);
  EXPECT_EQ(largest_difference(read_image(folder.path("i.png")), image), 0);
}

// ---- malformed files ----------------------------------------------------------------------------

std::uint32_t crc32_of(const std::string& bytes) {
  std::uint32_t crc = 0xffffffffu;
  for (const unsigned char byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

std::string big_endian(std::uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xff);
  return bytes;
}

// A PNG that is only a header, with its checksum right.
std::string png_header(std::uint32_t width, std::uint32_t height) {
  const std::string chunk =
      "IHDR" + big_endian(width) + big_endian(height) + std::string("\x08\x02\0\0\0", 5);
  return "\x89PNG\r\n\x1a\n" + big_endian(13) + chunk + big_endian(crc32_of(chunk));
}

// The size in the frame header of a JPEG, written over.
std::string jpeg_of_size(std::string bytes, unsigned height, unsigned width) {
  const std::size_t frame = bytes.find("\xff\xc0");
  bytes[frame + 5] = static_cast<char>(height >> 8), bytes[frame + 6] = static_cast<char>(height);
  bytes[frame + 7] = static_cast<char>(width >> 8), bytes[frame + 8] = static_cast<char>(width);
  return bytes;
}

std::string with_flipped_byte(std::string bytes, std::size_t at) {
  bytes.at(at) = static_cast<char>(bytes[at] ^ 0x5a);
  return bytes;
}

struct Malformed {
  const char* name;
  std::function<std::string()> bytes;
  std::vector<std::string> says;
};

std::vector<Malformed> malformed_files() {
  const auto jpeg = [] { return read_file(golden("rgb.in.jpg")); };
  const auto png = [] { return read_file(golden("scene.in.png")); };
  const auto part = [](const std::string& bytes, double share) {
    return bytes.substr(0, static_cast<std::size_t>(bytes.size() * share));
  };
  return {
      {"empty", [] { return std::string(); }, {"empty"}},
      {"one_byte", [] { return std::string("\xff"); }, {"neither a JPEG nor a PNG", "ff"}},
      {"gif", [] { return std::string("GIF89a......"); }, {"neither a JPEG nor a PNG", "47 49 46 38"}},
      {"text", [] { return std::string("file,label\n"); }, {"neither a JPEG nor a PNG"}},
      {"jpeg_magic_alone", [] { return std::string("\xff\xd8\xff"); }, {"damaged JPEG"}},
      {"jpeg_cut_in_its_tables", [=] { return part(jpeg(), 0.2); }, {"damaged JPEG"}},
      {"jpeg_cut_in_its_pixels", [=] { return part(jpeg(), 0.8); }, {"damaged JPEG"}},
      {"jpeg_without_its_end", [=] { return jpeg().substr(0, jpeg().size() - 2); }, {"damaged JPEG"}},
      {"jpeg_progressive_cut",
       [=] { return part(read_file(golden("progressive.in.jpg")), 0.7); },
       {"damaged JPEG"}},
      {"jpeg_huge", [=] { return jpeg_of_size(jpeg(), 60000, 60000); }, {"60000 x 60000", "100 million"}},
      {"jpeg_without_width", [=] { return jpeg_of_size(jpeg(), 17, 0); }, {"damaged JPEG"}},
      {"jpeg_header_and_zeros", [=] { return part(jpeg(), 0.5) + std::string(500, '\0'); }, {"damaged JPEG"}},
      {"png_magic_alone", [=] { return png().substr(0, 8); }, {"damaged PNG", "ends early"}},
      {"png_cut", [=] { return part(png(), 0.6); }, {"damaged PNG", "ends early"}},
      {"png_without_its_end", [=] { return png().substr(0, png().size() - 12); }, {"damaged PNG"}},
      {"png_wrong_checksum", [=] { return with_flipped_byte(png(), png().size() / 2); }, {"damaged PNG"}},
      {"png_huge", [] { return png_header(60000, 60000); }, {"60000 x 60000", "100 million"}},
      {"png_larger_than_int", [] { return png_header(0x7fffffff, 0x7fffffff); }, {"2147483647"}},
      {"png_without_width", [] { return png_header(0, 5); }, {"0 x 5"}},
      {"png_without_pixels", [] { return png_header(5, 5); }, {"damaged PNG"}},
  };
}

TEST(Malformed, IsOneErrorNamingTheFile) {
  const TempFolder folder;
  for (const Malformed& file : malformed_files()) {
    SCOPED_TRACE(file.name);
    const std::string path = folder.write(file.name, file.bytes());
    for (const int channels : {3, 1}) {
      expect_error([&] { read_image(path, channels); }, file.says);
      expect_error([&] { read_image(path, channels); }, {path + ": "});
    }
  }
}

TEST(Malformed, MissingFileFolderAndChannels) {
  const TempFolder folder;
  expect_error([&] { read_image(folder.path() + "/none.jpg"); }, {"none.jpg: no such file"});
  expect_error([&] { read_image(folder.path()); }, {"is not a file"});
  expect_error([&] { read_image(golden("rgb.in.jpg"), 4); }, {"1 or 3 channels, not 4"});
}

// Whatever byte is damaged: a picture of the right size or an Error, never anything else (the sanitizers
// watch).
TEST(Malformed, AnyDamagedByteIsHandled) {
  const TempFolder folder;
  for (const char* name :
       {"rgb.in.jpg", "progressive.in.jpg", "cmyk.in.jpg", "palette.in.png", "transparent.in.png"}) {
    const std::string whole = read_file(golden(name));
    int refused = 0, tried = 0;
    for (std::size_t at = 2; at < whole.size(); at += 7) {
      ++tried;
      try {
        read_image(folder.write("x", with_flipped_byte(whole, at)));
      } catch (const Error&) {
        ++refused;
      }
    }
    EXPECT_GT(refused, tried / 20) << name;
  }
}

// ---- resize -------------------------------------------------------------------------------------

struct Size {
  int width, height;
};
class Resizing : public ::testing::TestWithParam<Size> {};

TEST_P(Resizing, EqualsPillow) {
  const auto [width, height] = GetParam();
  const Image expected = read_image(golden(fmt::format("{}x{}.png", width, height)));
  EXPECT_LE(largest_difference(resize(read_image(golden("scene.in.png")), height, width), expected), 1);
}

INSTANTIATE_TEST_SUITE_P(Sizes, Resizing,
                         ::testing::Values(Size{30, 22}, Size{96, 33}, Size{13, 90}, Size{61, 9}, Size{7, 47},
                                           Size{1, 1}, Size{122, 94}),
                         [](const auto& info) {
                           return fmt::format("{}x{}", info.param.width, info.param.height);
                         });

TEST(Resize, GreyIsAChannelOfRgb) {
  const Image grey = pattern(33, 41, 1);
  Image rgb = make_image(33, 41, 3);
  for (std::size_t i = 0; i < grey.pixels.size(); ++i) rgb.pixels[i * 3 + 1] = grey.pixels[i];
  const Image small = resize(grey, 12, 50), reference = resize(rgb, 12, 50);
  for (std::size_t i = 0; i < small.pixels.size(); ++i)
    ASSERT_EQ(small.pixels[i], reference.pixels[i * 3 + 1]);
}

TEST(Resize, KeepsAConstantAndTheSameSize) {
  for (const int value : {0, 1, 128, 254, 255}) {
    const Image image = resize(make_image(50, 37, 3, static_cast<std::uint8_t>(value)), 17, 101);
    for (const std::uint8_t pixel : image.pixels) ASSERT_EQ(pixel, value);
  }
  const Image image = pattern(9, 8, 3);
  EXPECT_EQ(resize(image, 9, 8).pixels, image.pixels);
}

TEST(Resize, RefusesWhatHasNoSize) {
  EXPECT_THROW(resize(pattern(4, 4, 3), 0, 4), Error);
  EXPECT_THROW(resize(pattern(4, 4, 3), 4, -1), Error);
  EXPECT_THROW(resize(Image{}, 4, 4), Error);
  EXPECT_THROW(resize(pattern(4, 4, 2), 4, 3), Error);
}

// ---- writing, crop, flip ------------------------------------------------------------------------

TEST(Writing, PngComesBackExactly) {
  const TempFolder folder;
  for (const int channels : {1, 3}) {
    const Image image = pattern(23, 31, channels);
    write_png(folder.path("a.png"), image);
    EXPECT_EQ(read_image(folder.path("a.png"), channels).pixels, image.pixels);
  }
}

TEST(Writing, JpegComesBackNearly) {
  const TempFolder folder;
  for (const int channels : {1, 3}) {
    const Image image = resize(pattern(8, 8, channels), 64, 48);
    write_jpeg(folder.path("a.jpg"), image, 98);
    const Image back = read_image(folder.path("a.jpg"), channels);
    double sum = 0;
    ASSERT_EQ(back.pixels.size(), image.pixels.size());
    for (std::size_t i = 0; i < image.pixels.size(); ++i) sum += std::abs(back.pixels[i] - image.pixels[i]);
    EXPECT_LT(sum / static_cast<double>(image.pixels.size()), channels == 1 ? 1 : 6);
  }
}

TEST(Writing, InMemoryTheSameBytes) {
  const TempFolder folder;
  const Image image = pattern(23, 31, 3);
  write_png(folder.path("a.png"), image);
  write_jpeg(folder.path("a.jpg"), image, 80);
  EXPECT_EQ(png_bytes(image), read_file(folder.path("a.png")));
  EXPECT_EQ(jpeg_bytes(image, 80), read_file(folder.path("a.jpg")));
  EXPECT_THROW(png_bytes(pattern(2, 2, 2)), Error);
  EXPECT_THROW(jpeg_bytes(Image{}), Error);
}

TEST(Writing, RefusesWhatCannotBeWritten) {
  const TempFolder folder;
  expect_error([&] { write_png(folder.path() + "/no/folder.png", pattern(2, 2, 3)); },
               {"folder.png", "cannot be written"});
  expect_error([&] { write_jpeg(folder.path() + "/no/folder.jpg", pattern(2, 2, 3)); },
               {"folder.jpg", "cannot be written"});
  expect_error([&] { write_png(folder.path("x.png"), Image{}); }, {"0 x 0"});
  expect_error([&] { write_png(folder.path("x.png"), pattern(2, 2, 2)); }, {"2 channels"});
  expect_error([&] { write_jpeg(folder.path("x.jpg"), make_image(1, 70000, 1)); },
               {"x.jpg", "cannot be encoded"});
  Image wrong = pattern(2, 2, 3);
  wrong.pixels.pop_back();
  EXPECT_THROW(write_png(folder.path("x.png"), wrong), Error);
}

TEST(Crop, TakesTheBoxOrRefuses) {
  const Image image = pattern(10, 12, 3);
  const Image box = crop(image, {3, 2, 9, 8});
  ASSERT_EQ(box.height, 8);
  ASSERT_EQ(box.width, 9);
  EXPECT_TRUE(std::equal(box.at(7, 8), box.at(7, 8) + 3, image.at(9, 11)));
  for (const Box bad : {Box{-1, 0, 2, 2}, Box{0, -1, 2, 2}, Box{4, 0, 9, 2}, Box{0, 3, 2, 8}, Box{0, 0, 0, 5},
                        Box{12, 0, 1, 1}, Box{2147483647, 0, 2, 2}})
    expect_error([&] { crop(image, bad); }, {"12 x 10"});
}

TEST(Flip, ReversesRows) {
  const Image image = pattern(5, 7, 3), flipped = flip_horizontal(image);
  for (int y = 0; y < 5; ++y)
    for (int x = 0; x < 7; ++x)
      EXPECT_TRUE(std::equal(flipped.at(y, x), flipped.at(y, x) + 3, image.at(y, 6 - x)));
  EXPECT_EQ(flip_horizontal(flipped).pixels, image.pixels);
}

TEST(Make, RefusesNegativeSizes) { EXPECT_THROW(make_image(-1, 2, 3), Error); }

}  // namespace
}  // namespace fovea
