//===- Png.cpp - the picture in pixels ------------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Cells are mixed in linear light, as an eye mixes them from afar.
//
//===----------------------------------------------------------------------===//

#include "Numbers.h"
#include "Picture.h"
#include <array>
#include <cmath>
#include <png.h>

using namespace sparse_attn;
using llvm::Expected;

static constexpr int64_t kMapPixels = 1024, kHalfMapPixels = 768, kMarginPixels = 32;

namespace {
using Color = std::array<double, 3>; // linear light, 0 to 1

class Image {
public:
  Image(int64_t width, int64_t height, const Color &color)
      : width(width), height(height), pixels(width * height * 3) {
    fill(0, 0, width, height, color);
  }

  void fill(int64_t x0, int64_t y0, int64_t x1, int64_t y1, const Color &color) {
    std::array<uint8_t, 3> bytes;
    for (int channel = 0; channel < 3; ++channel) {
      double linear = color[channel];
      double value = linear <= 0.0031308 ? 12.92 * linear
                                         : 1.055 * std::pow(linear, 1 / 2.4) - 0.055;
      bytes[channel] = static_cast<uint8_t>(std::lround(value * 255));
    }
    for (int64_t y = std::max<int64_t>(0, y0); y < std::min(y1, height); ++y)
      for (int64_t x = std::max<int64_t>(0, x0); x < std::min(x1, width); ++x)
        std::copy(bytes.begin(), bytes.end(), &pixels[(y * width + x) * 3]);
  }

  int64_t width, height;
  std::vector<uint8_t> pixels;
};
} // namespace

/// "#1f6fb4" in linear light.
static Color parseColor(llvm::StringRef text) {
  Color color;
  for (int channel = 0; channel < 3; ++channel) {
    unsigned byte = 0;
    (void)text.substr(1 + 2 * channel, 2).getAsInteger(16, byte);
    double value = byte / 255.0;
    color[channel] =
        value <= 0.04045 ? value / 12.92 : std::pow((value + 0.055) / 1.055, 2.4);
  }
  return color;
}

static void drawPanel(const Panel &panel, int64_t left, int64_t top, Image &image) {
  Color empty = parseColor(colors::kEmpty), full = parseColor(colors::kFull);
  Color partial = parseColor(colors::kPartial), page = parseColor(colors::kPage);
  int64_t right = left + std::llround(panel.width);
  int64_t bottom = top + std::llround(panel.height);
  int64_t gap = panel.hasGaps() ? 1 : 0;
  if (gap)
    image.fill(left, top, right, bottom, page);
  for (int64_t row = 0; row < panel.cells.rows(); ++row)
    for (int64_t column = 0; column < panel.cells.columns(); ++column) {
      Share share = panel.cells.share(row, column);
      Color color;
      for (int channel = 0; channel < 3; ++channel)
        color[channel] = full[channel] * share.full + partial[channel] * share.partial +
                         empty[channel] * (1 - share.visited());
      auto at = [](int64_t start, int64_t cell, double size) -> int64_t {
        return start + std::llround(cell * size);
      };
      image.fill(at(left, column, panel.cellWidth), at(top, row, panel.cellHeight),
                 std::min(at(left, column + 1, panel.cellWidth) - gap, right),
                 std::min(at(top, row + 1, panel.cellHeight) - gap, bottom), color);
    }
}

//===----------------------------------------------------------------------===//
// The file
//===----------------------------------------------------------------------===//

static void appendBytes(png_structp png, png_bytep bytes, size_t count) {
  static_cast<std::string *>(png_get_io_ptr(png))
      ->append(reinterpret_cast<const char *>(bytes), count);
}

static void flushNothing(png_structp) {}

static void keepMessage(png_structp png, png_const_charp message) {
  *static_cast<std::string *>(png_get_error_ptr(png)) = message;
  longjmp(png_jmpbuf(png), 1);
}

static void ignoreWarning(png_structp, png_const_charp) {}

/// Everything that has a destructor lives in the caller: libpng's errors jump.
static bool encode(const Image &image, png_text *texts, int textCount, std::string *bytes,
                   std::string *message) {
  png_structp png =
      png_create_write_struct(PNG_LIBPNG_VER_STRING, message, keepMessage, ignoreWarning);
  if (!png)
    return false;
  png_infop info = png_create_info_struct(png);
  if (!info || setjmp(png_jmpbuf(png))) {
    png_destroy_write_struct(&png, &info);
    return false;
  }
  png_set_write_fn(png, bytes, appendBytes, flushNothing);
  png_set_IHDR(png, info, image.width, image.height, 8, PNG_COLOR_TYPE_RGB,
               PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_set_sRGB(png, info, PNG_sRGB_INTENT_PERCEPTUAL);
  png_set_text(png, info, texts, textCount);
  png_write_info(png, info);
  for (int64_t y = 0; y < image.height; ++y)
    png_write_row(png, &image.pixels[y * image.width * 3]);
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return true;
}

static Image drawImage(const Explanation &explanation) {
  std::vector<std::vector<Panel>> lines;
  int64_t width = 0, height = kMarginPixels;
  for (const AttentionFacts &facts : explanation.attentions) {
    std::vector<Panel> panels = makePanels(facts, facts.picture(), kHalfMapPixels);
    if (panels.size() == 1)
      panels = makePanels(facts, facts.picture(), kMapPixels);
    int64_t lineWidth = kMarginPixels, lineHeight = 0;
    for (const Panel &panel : panels) {
      lineWidth += std::llround(panel.width) + kMarginPixels;
      lineHeight = std::max<int64_t>(lineHeight, std::llround(panel.height));
    }
    width = std::max(width, lineWidth);
    height += lineHeight + kMarginPixels;
    lines.push_back(std::move(panels));
  }
  Image image(width, height, parseColor(colors::kPage));
  int64_t top = kMarginPixels;
  for (const std::vector<Panel> &panels : lines) {
    int64_t left = kMarginPixels, next = top;
    for (const Panel &panel : panels) {
      drawPanel(panel, left, top, image);
      left += std::llround(panel.width) + kMarginPixels;
      next = std::max<int64_t>(next, top + std::llround(panel.height) + kMarginPixels);
    }
    top = next;
  }
  return image;
}

Expected<std::string> sparse_attn::buildPng(const Explanation &explanation) {
  Image image = drawImage(explanation);
  std::string title = "kernel " + explanation.kernel, description;
  llvm::raw_string_ostream os(description);
  for (const AttentionFacts &facts : explanation.attentions)
    os << facts.expression << "\n"
       << formatShape(explanation, facts) << "\n"
       << formatCount(facts.fullTiles()) << " full, " << formatCount(facts.partialTiles())
       << " partial and " << formatCount(facts.skippedTiles()) << " skipped tiles; "
       << formatPairs(facts, facts.pairDensity()) << "\n";
  char titleKey[] = "Title", descriptionKey[] = "Description";
  png_text texts[2] = {};
  texts[0].compression = texts[1].compression = PNG_TEXT_COMPRESSION_NONE;
  texts[0].key = titleKey;
  texts[0].text = title.data();
  texts[0].text_length = title.size();
  texts[1].key = descriptionKey;
  texts[1].text = description.data();
  texts[1].text_length = description.size();
  std::string bytes, message = "out of memory";
  if (!encode(image, texts, 2, &bytes, &message))
    return llvm::createStringError("cannot write the picture as PNG: " + message);
  return bytes;
}
