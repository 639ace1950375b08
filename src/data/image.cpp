// Images: the doors they come through (libjpeg-turbo, libpng) and Pillow's resize.
//
// Decoding follows Pillow where formats leave a choice, so that a network trained elsewhere sees the same
// pixels: accurate integer DCT and smooth chroma upsampling, CMYK as Adobe stores it (inverted), luma =
// (19595 R + 38470 G + 7471 B) / 65536. libjpeg and libpng report errors by longjmp. The functions that call
// setjmp hold only trivial objects, and all memory they use belongs to their callers.
//
// resize: out[x] = sum_i k[i] in[i] over |i - centre| < max(1, in/out), k a triangle scaled to sum 1.
// Pillow's Resample.c: coefficients in 22-bit fixed point, columns first, rounded to 8 bits between the
// passes; same arithmetic, same result.
#include "data/image.hpp"

#include <fmt/format.h>
#include <jerror.h>
#include <jpeglib.h>
#include <png.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>

#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

using Bytes = std::vector<std::uint8_t>;

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

constexpr std::int64_t max_file_bytes = 1LL << 30;

std::string last_error() { return std::generic_category().message(errno); }

Bytes read_bytes(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) fail(fmt::format("{}: no such file", path));
  if (!std::filesystem::is_regular_file(status)) fail(fmt::format("{}: is not a file", path));
  const auto size = static_cast<std::int64_t>(std::filesystem::file_size(path, error));
  if (error) fail(fmt::format("{}: {}", path, error.message()));
  if (size == 0) fail(fmt::format("{}: the file is empty", path));
  if (size > max_file_bytes)
    fail(fmt::format("{}: {} bytes is more than an image may have ({})", path, size, max_file_bytes));
  const File file(std::fopen(path.c_str(), "rb"));
  if (!file) fail(fmt::format("{}: cannot be opened: {}", path, last_error()));
  Bytes bytes(static_cast<std::size_t>(size));
  if (std::fread(bytes.data(), 1, bytes.size(), file.get()) != bytes.size())
    fail(fmt::format("{}: cannot be read whole", path));
  return bytes;
}

void write_bytes(const std::string& path, const std::uint8_t* data, std::size_t size) {
  File file(std::fopen(path.c_str(), "wb"));
  if (!file) fail(fmt::format("{}: cannot be written: {}", path, last_error()));
  const bool written = std::fwrite(data, 1, size, file.get()) == size;
  if (std::fclose(file.release()) != 0 || !written)
    fail(fmt::format("{}: cannot be written whole: {}", path, last_error()));
}

void check_size(const std::string& path, std::int64_t height, std::int64_t width) {
  if (height <= 0 || width <= 0) fail(fmt::format("{}: the image is {} x {} pixels", path, width, height));
  if (width > max_pixels / height)
    fail(fmt::format("{}: {} x {} pixels is more than the limit of {} million", path, width, height,
                     max_pixels / 1'000'000));
}

// ---- what a decoded row may hold, brought to grey or RGB ----------------------------------------

std::uint8_t scaled(unsigned a, unsigned b) {  // a b / 255, rounded
  const unsigned t = a * b + 128;
  return static_cast<std::uint8_t>(((t >> 8) + t) >> 8);
}

std::uint8_t luma(const std::uint8_t* rgb) {
  return static_cast<std::uint8_t>((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
}

// A pixel of 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 channels (RGB, alpha or inverted CMYK) to RGB.
void pixel_to_rgb(const std::uint8_t* in, int channels, bool cmyk, std::uint8_t* rgb) {
  for (int c = 0; c < 3; ++c) {
    const unsigned value = channels < 3 ? in[0] : in[c];
    if (cmyk)
      rgb[c] = static_cast<std::uint8_t>(in[3] - scaled(255u - value, in[3]));
    else if (channels == 2 || channels == 4)
      rgb[c] = scaled(value, in[channels - 1]);
    else
      rgb[c] = static_cast<std::uint8_t>(value);
  }
}

Image convert(int height, int width, int from, bool cmyk, Bytes&& pixels, int to) {
  Image out{height, width, to, {}};
  if (from == to) {
    out.pixels = std::move(pixels);
    return out;
  }
  const std::size_t count = static_cast<std::size_t>(height) * width;
  out.pixels.resize(count * to);
  for (std::size_t i = 0; i < count; ++i) {
    std::uint8_t rgb[3];
    pixel_to_rgb(pixels.data() + i * from, from, cmyk, rgb);
    if (to == 3)
      std::copy_n(rgb, 3, out.pixels.data() + i * 3);
    else
      out.pixels[i] = from <= 2 ? rgb[0] : luma(rgb);
  }
  return out;
}

// ---- JPEG ---------------------------------------------------------------------------------------

struct JpegErrors {
  jpeg_error_mgr manager;  // first, so that a pointer to it is a pointer to this
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

void jpeg_fail(j_common_ptr info) {
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  info->err->format_message(info, errors->message);
  std::longjmp(errors->jump, 1);
}

void jpeg_message(j_common_ptr info, int level) {
  if (level < 0) jpeg_fail(info);  // a warning: the data is damaged
}

// A progressive file of a few kilobytes can ask for thousands of passes over a large image.
void jpeg_limit_scans(j_common_ptr info) {
  constexpr int max_scans = 500;
  if (info->is_decompressor && reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > max_scans) {
    std::strcpy(reinterpret_cast<JpegErrors*>(info->err)->message, "more than 500 scans");
    std::longjmp(reinterpret_cast<JpegErrors*>(info->err)->jump, 1);
  }
}

void install(jpeg_error_mgr** slot, JpegErrors& errors) {
  *slot = jpeg_std_error(&errors.manager);
  errors.manager.error_exit = jpeg_fail;
  errors.manager.emit_message = jpeg_message;
  errors.message[0] = '\0';
}

struct JpegReader {
  jpeg_decompress_struct info{};
  JpegErrors errors{};
  jpeg_progress_mgr progress{};

  JpegReader() {
    install(&info.err, errors);
    jpeg_create_decompress(&info);
    progress.progress_monitor = jpeg_limit_scans;
    info.progress = &progress;
  }
  ~JpegReader() { jpeg_destroy_decompress(&info); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;
};

bool read_jpeg_header(JpegReader& reader, const Bytes& bytes) {
  if (setjmp(reader.errors.jump)) return false;
  jpeg_mem_src(&reader.info, bytes.data(), bytes.size());
  jpeg_read_header(&reader.info, TRUE);
  switch (reader.info.num_components) {
    case 1:
      reader.info.out_color_space = JCS_GRAYSCALE;
      break;
    case 4:
      reader.info.out_color_space = JCS_CMYK;
      break;
    default:
      reader.info.out_color_space = JCS_RGB;
  }
  reader.info.dct_method = JDCT_ISLOW;
  return true;
}

bool read_jpeg_rows(JpegReader& reader, std::uint8_t* pixels, std::size_t stride) {
  if (setjmp(reader.errors.jump)) return false;
  jpeg_start_decompress(&reader.info);
  while (reader.info.output_scanline < reader.info.output_height) {
    JSAMPROW row = pixels + reader.info.output_scanline * stride;
    jpeg_read_scanlines(&reader.info, &row, 1);
  }
  jpeg_finish_decompress(&reader.info);
  return true;
}

Image decode_jpeg(const std::string& path, const Bytes& bytes, int channels) {
  JpegReader reader;
  if (!read_jpeg_header(reader, bytes))
    fail(fmt::format("{}: damaged JPEG: {}", path, reader.errors.message));
  const auto& info = reader.info;
  check_size(path, info.image_height, info.image_width);
  const int components = info.num_components == 1 ? 1 : info.num_components == 4 ? 4 : 3;
  const int height = static_cast<int>(info.image_height), width = static_cast<int>(info.image_width);
  Bytes pixels(static_cast<std::size_t>(height) * width * components);
  if (!read_jpeg_rows(reader, pixels.data(), static_cast<std::size_t>(width) * components))
    fail(fmt::format("{}: damaged JPEG: {}", path, reader.errors.message));
  return convert(height, width, components, components == 4, std::move(pixels), channels);
}

struct JpegWriter {
  jpeg_compress_struct info{};
  JpegErrors errors{};
  unsigned char* buffer = nullptr;
  unsigned long size = 0;

  JpegWriter() {
    install(&info.err, errors);
    jpeg_create_compress(&info);
  }
  ~JpegWriter() {
    jpeg_destroy_compress(&info);
    std::free(buffer);
  }
  JpegWriter(const JpegWriter&) = delete;
  JpegWriter& operator=(const JpegWriter&) = delete;
};

bool encode_jpeg(JpegWriter& writer, const Image& image, int quality) {
  if (setjmp(writer.errors.jump)) return false;
  jpeg_compress_struct& info = writer.info;
  jpeg_mem_dest(&info, &writer.buffer, &writer.size);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  info.input_components = image.channels;
  info.in_color_space = image.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, quality, TRUE);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    auto* row = const_cast<JSAMPROW>(image.at(static_cast<int>(info.next_scanline), 0));
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  return true;
}

// ---- PNG ----------------------------------------------------------------------------------------

struct PngState {
  const std::uint8_t* data = nullptr;  // reading: what is left
  std::size_t left = 0;
  Bytes* out = nullptr;  // writing
  char message[256] = "";
  png_structp png = nullptr;
  png_infop info = nullptr;
  bool writing = false;

  explicit PngState(bool write) : writing(write) {}
  ~PngState() {
    if (png != nullptr && writing) png_destroy_write_struct(&png, &info);
    if (png != nullptr && !writing) png_destroy_read_struct(&png, &info, nullptr);
  }
  PngState(const PngState&) = delete;
  PngState& operator=(const PngState&) = delete;
};

[[noreturn]] void png_fail(png_structp png, png_const_charp message) {
  auto* state = static_cast<PngState*>(png_get_error_ptr(png));
  std::snprintf(state->message, sizeof state->message, "%s", message);
  png_longjmp(png, 1);
}

void png_ignore(png_structp, png_const_charp) {}  // warnings speak of colour profiles and the like

void png_take(png_structp png, png_bytep out, png_size_t size) {
  auto* state = static_cast<PngState*>(png_get_io_ptr(png));
  if (size > state->left) png_error(png, "the file ends early");
  std::memcpy(out, state->data, size);
  state->data += size;
  state->left -= size;
}

void png_give(png_structp png, png_bytep data, png_size_t size) {
  Bytes& out = *static_cast<PngState*>(png_get_io_ptr(png))->out;
  bool full = false;
  try {
    out.insert(out.end(), data, data + size);
  } catch (const std::bad_alloc&) {
    full = true;
  }
  if (full) png_error(png, "out of memory");
}

void png_flush_nothing(png_structp) {}

// 8 bits a channel: palettes and low depths are expanded, transparency becomes alpha, 16 bits are rounded
// to 8.
bool read_png_header(PngState& state) {
  state.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &state, png_fail, png_ignore);
  if (state.png == nullptr) return false;
  if (setjmp(png_jmpbuf(state.png))) return false;
  state.info = png_create_info_struct(state.png);
  if (state.info == nullptr) png_error(state.png, "out of memory");
  png_set_user_limits(state.png, 0x7fffffff, 0x7fffffff);  // our own limit is on the pixels
  png_set_chunk_malloc_max(state.png, 16u << 20);
  png_set_read_fn(state.png, &state, png_take);
  png_read_info(state.png, state.info);
  png_set_expand(state.png);
  png_set_scale_16(state.png);
  return true;
}

bool read_png_rows(PngState& state, png_bytep* rows) {
  if (setjmp(png_jmpbuf(state.png))) return false;
  png_read_image(state.png, rows);
  png_read_end(state.png, nullptr);
  return true;
}

bool start_png_rows(PngState& state) {
  if (setjmp(png_jmpbuf(state.png))) return false;
  png_set_interlace_handling(state.png);
  png_read_update_info(state.png, state.info);
  return true;
}

// The size stands first in every PNG; libpng would look at it only after all chunks before the pixels.
void check_png_size(const std::string& path, const Bytes& bytes) {
  const auto number = [&](std::size_t at) {
    return std::int64_t{bytes[at]} << 24 | std::int64_t{bytes[at + 1]} << 16 | bytes[at + 2] << 8 |
           bytes[at + 3];
  };
  if (bytes.size() >= 24) check_size(path, number(20), number(16));
}

Image decode_png(const std::string& path, const Bytes& bytes, int channels) {
  check_png_size(path, bytes);
  PngState state(false);
  state.data = bytes.data();
  state.left = bytes.size();
  const auto damaged = [&] { fail(fmt::format("{}: damaged PNG: {}", path, state.message)); };
  if (!read_png_header(state)) damaged();
  if (!start_png_rows(state)) damaged();
  const int height = static_cast<int>(png_get_image_height(state.png, state.info));
  const int width = static_cast<int>(png_get_image_width(state.png, state.info));
  const int components = png_get_channels(state.png, state.info);
  Bytes pixels(static_cast<std::size_t>(height) * width * components);
  std::vector<png_bytep> rows(static_cast<std::size_t>(height));
  for (int y = 0; y < height; ++y) rows[y] = pixels.data() + static_cast<std::size_t>(y) * width * components;
  if (!read_png_rows(state, rows.data())) damaged();
  return convert(height, width, components, false, std::move(pixels), channels);
}

bool encode_png(PngState& state, const Image& image) {
  state.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &state, png_fail, png_ignore);
  if (state.png == nullptr) return false;
  if (setjmp(png_jmpbuf(state.png))) return false;
  state.info = png_create_info_struct(state.png);
  if (state.info == nullptr) png_error(state.png, "out of memory");
  png_set_write_fn(state.png, &state, png_give, png_flush_nothing);
  png_set_IHDR(state.png, state.info, static_cast<png_uint_32>(image.width),
               static_cast<png_uint_32>(image.height), 8,
               image.channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(state.png, state.info);
  for (int y = 0; y < image.height; ++y) png_write_row(state.png, image.at(y, 0));
  png_write_end(state.png, state.info);
  return true;
}

void check_writable(const std::string& path, const Image& image) {
  const std::size_t size = static_cast<std::size_t>(image.height) * image.width * image.channels;
  if (image.height <= 0 || image.width <= 0 || (image.channels != 1 && image.channels != 3) ||
      image.pixels.size() != size)
    fail(fmt::format("{}: an image of {} x {} pixels with {} channels cannot be written", path, image.width,
                     image.height, image.channels));
}

Bytes encoded_png(const std::string& path, const Image& image) {
  check_writable(path, image);
  Bytes bytes;
  PngState state(true);
  state.out = &bytes;
  if (!encode_png(state, image)) fail(fmt::format("{}: cannot be encoded as PNG: {}", path, state.message));
  return bytes;
}

void encode_jpeg_or_fail(JpegWriter& writer, const std::string& path, const Image& image, int quality) {
  check_writable(path, image);
  if (!encode_jpeg(writer, image, quality))
    fail(fmt::format("{}: cannot be encoded as JPEG: {}", path, writer.errors.message));
}

// ---- resize -------------------------------------------------------------------------------------

constexpr int precision_bits = 32 - 8 - 2;

struct Taps {
  int width = 0;                     // weights per output pixel
  std::vector<int> start, count;     // first input pixel, how many
  std::vector<std::int32_t> weight;  // fixed point
};

Taps make_taps(int in, int out) {
  const double scale = static_cast<double>(in) / out;
  const double support = std::max(scale, 1.0);  // of the triangle, in input pixels
  Taps taps;
  taps.width = static_cast<int>(std::ceil(support)) * 2 + 1;
  taps.weight.resize(static_cast<std::size_t>(out) * taps.width);
  std::vector<double> k(static_cast<std::size_t>(taps.width));
  for (int x = 0; x < out; ++x) {
    const double center = (x + 0.5) * scale;
    const int start = std::max(static_cast<int>(center - support + 0.5), 0);
    const int count = std::min(static_cast<int>(center + support + 0.5), in) - start;
    double sum = 0;
    for (int i = 0; i < count; ++i) {
      k[i] = std::max(0.0, 1.0 - std::abs((i + start - center + 0.5) * (1.0 / support)));
      sum += k[i];
    }
    for (int i = 0; i < count; ++i)
      taps.weight[static_cast<std::size_t>(x) * taps.width + i] =
          static_cast<std::int32_t>(0.5 + k[i] / sum * (1 << precision_bits));
    taps.start.push_back(start);
    taps.count.push_back(count);
  }
  return taps;
}

constexpr std::int32_t half = 1 << (precision_bits - 1);

std::uint8_t to_level(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::min(sum >> precision_bits, 255));
}

template <int channels>
void resize_row(const std::uint8_t* in, const Taps& taps, int out_width, std::uint8_t* out) {
  for (int x = 0; x < out_width; ++x) {
    const std::int32_t* weight = taps.weight.data() + static_cast<std::size_t>(x) * taps.width;
    const std::uint8_t* pixel = in + static_cast<std::size_t>(taps.start[x]) * channels;
    std::int32_t sum[channels];
    for (int c = 0; c < channels; ++c) sum[c] = half;
    for (int i = 0; i < taps.count[x]; ++i)
      for (int c = 0; c < channels; ++c) sum[c] += weight[i] * pixel[i * channels + c];
    for (int c = 0; c < channels; ++c) *out++ = to_level(sum[c]);
  }
}

Image resize_width(const Image& image, int width) {
  const Taps taps = make_taps(image.width, width);
  Image out = make_image(image.height, width, image.channels);
  for (int y = 0; y < image.height; ++y) {
    if (image.channels == 1)
      resize_row<1>(image.at(y, 0), taps, width, out.at(y, 0));
    else
      resize_row<3>(image.at(y, 0), taps, width, out.at(y, 0));
  }
  return out;
}

Image resize_height(const Image& image, int height) {
  const Taps taps = make_taps(image.height, height);
  Image out = make_image(height, image.width, image.channels);
  const int row = image.width * image.channels;
  std::vector<std::int32_t> sum(static_cast<std::size_t>(row));
  for (int y = 0; y < height; ++y) {
    std::fill(sum.begin(), sum.end(), half);
    for (int i = 0; i < taps.count[y]; ++i) {
      const std::int32_t weight = taps.weight[static_cast<std::size_t>(y) * taps.width + i];
      const std::uint8_t* in = image.at(taps.start[y] + i, 0);
      for (int x = 0; x < row; ++x) sum[x] += weight * in[x];
    }
    std::uint8_t* to = out.at(y, 0);
    for (int x = 0; x < row; ++x) to[x] = to_level(sum[x]);
  }
  return out;
}

}  // namespace

Image make_image(int height, int width, int channels, std::uint8_t value) {
  if (height < 0 || width < 0 || channels < 0)
    fail(fmt::format("an image cannot have the shape {} x {} x {}", height, width, channels));
  return {height, width, channels, Bytes(static_cast<std::size_t>(height) * width * channels, value)};
}

Image read_image(const std::string& path, int channels) {
  if (channels != 1 && channels != 3)
    fail(fmt::format("{}: images are read with 1 or 3 channels, not {}", path, channels));
  const Bytes bytes = read_bytes(path);
  constexpr std::uint8_t jpeg_magic[] = {0xff, 0xd8, 0xff};
  constexpr std::uint8_t png_magic[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  const auto starts_with = [&](const auto& magic) {
    return bytes.size() >= std::size(magic) && std::equal(std::begin(magic), std::end(magic), bytes.begin());
  };
  if (starts_with(jpeg_magic)) return decode_jpeg(path, bytes, channels);
  if (starts_with(png_magic)) return decode_png(path, bytes, channels);
  std::string start;
  for (std::size_t i = 0; i < std::min<std::size_t>(bytes.size(), 8); ++i)
    start += fmt::format(" {:02x}", +bytes[i]);
  fail(fmt::format(
      "{}: neither a JPEG nor a PNG image (it starts with the bytes{}); convert it to one of these", path,
      start));
}

void write_png(const std::string& path, const Image& image) {
  const Bytes bytes = encoded_png(path, image);
  write_bytes(path, bytes.data(), bytes.size());
}

void write_jpeg(const std::string& path, const Image& image, int quality) {
  JpegWriter writer;
  encode_jpeg_or_fail(writer, path, image, quality);
  write_bytes(path, writer.buffer, writer.size);
}

std::string png_bytes(const Image& image) {
  const Bytes bytes = encoded_png("a picture in memory", image);
  return {bytes.begin(), bytes.end()};
}

std::string jpeg_bytes(const Image& image, int quality) {
  JpegWriter writer;
  encode_jpeg_or_fail(writer, "a picture in memory", image, quality);
  return {reinterpret_cast<const char*>(writer.buffer), writer.size};
}

Image resize(const Image& image, int height, int width) {
  if (image.height <= 0 || image.width <= 0 || height <= 0 || width <= 0 ||
      (image.channels != 1 && image.channels != 3))
    fail(fmt::format("an image of {} x {} pixels with {} channels cannot be resized to {} x {}", image.width,
                     image.height, image.channels, width, height));
  if (image.width == width && image.height == height) return image;
  if (image.width == width) return resize_height(image, height);
  const Image narrow = resize_width(image, width);
  return image.height == height ? narrow : resize_height(narrow, height);
}

Image crop(const Image& image, const Box& box) {
  if (box.width <= 0 || box.height <= 0 || box.x < 0 || box.y < 0 || box.x > image.width - box.width ||
      box.y > image.height - box.height)
    fail(fmt::format("the box {},{} {} x {} is not inside the image of {} x {} pixels", box.x, box.y,
                     box.width, box.height, image.width, image.height));
  Image out = make_image(box.height, box.width, image.channels);
  for (int y = 0; y < box.height; ++y)
    std::copy_n(image.at(box.y + y, box.x), static_cast<std::size_t>(box.width) * image.channels,
                out.at(y, 0));
  return out;
}

Image flip_horizontal(const Image& image) {
  Image out = make_image(image.height, image.width, image.channels);
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x)
      std::copy_n(image.at(y, image.width - 1 - x), image.channels, out.at(y, x));
  return out;
}

}  // namespace fovea
