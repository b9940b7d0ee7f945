//===- SafetensorsTest.cpp - reading .safetensors files -------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Support/Safetensors.h"
#include "Bytes.h"
#include "llvm/Support/Endian.h"
#include <gtest/gtest.h>

using namespace llvm;
using namespace sparse_attn;

namespace {

std::string makeFile(StringRef header, StringRef elements) {
  char length[8];
  support::endian::write64le(length, header.size());
  return std::string(length, 8) + header.str() + elements.str();
}

/// {"name": {"dtype": ..., "shape": ..., "data_offsets": ...}} without the braces.
std::string makeEntry(StringRef name, StringRef dtype, StringRef shape,
                      StringRef offsets) {
  return ("\"" + name + "\": {\"dtype\": \"" + dtype + "\", \"shape\": " + shape +
          ", \"data_offsets\": " + offsets + "}")
      .str();
}

std::string getError(StringRef file, StringRef name = "w") {
  Expected<Array> array = parseSafetensor(file, name);
  return array ? "(no error)" : toString(array.takeError());
}

TEST(Safetensors, ReadsOneOfSeveral) {
  // Entries in another order than their bytes, metadata, padding with spaces.
  std::string header = "{\"__metadata__\": {\"format\": \"pt \\\" {[{[\"}, " +
                       makeEntry("layers.1.w", "F32", "[2, 3]", "[8, 32]") + ", " +
                       makeEntry("nothing", "F32", "[0, 7]", "[32, 32]") + ", " +
                       makeEntry("ids", "I32", "[2]", "[0, 8]") + "}    ";
  std::string file =
      makeFile(header, toBytes<int32_t>({-1, 5}) + toBytes<float>({0, 1, 2, 3, 4, 5}));
  Expected<Array> weights = parseSafetensor(file, "layers.1.w");
  ASSERT_TRUE(bool(weights)) << toString(weights.takeError());
  EXPECT_EQ(weights->type(), ElementKind::F32);
  EXPECT_EQ(weights->shape(), (ArrayRef<int64_t>{2, 3}));
  for (int i = 0; i < 6; ++i)
    EXPECT_EQ(weights->as<float>()[i], i);
  Expected<Array> ids = parseSafetensor(file, "ids");
  ASSERT_TRUE(bool(ids)) << toString(ids.takeError());
  EXPECT_EQ(ids->get(0), -1);
  EXPECT_EQ(ids->get(1), 5);
  Expected<Array> nothing = parseSafetensor(file, "nothing");
  ASSERT_TRUE(bool(nothing)) << toString(nothing.takeError());
  EXPECT_EQ(nothing->shape(), (ArrayRef<int64_t>{0, 7}));
}

TEST(Safetensors, ReadsEveryType) {
  struct Case {
    const char *dtype;
    ElementKind type;
    std::string bytes;
    double value;
  };
  Case cases[] = {
      {"F64", ElementKind::F64, toBytes<double>({-3}), -3},
      {"F32", ElementKind::F32, toBytes<float>({-3}), -3},
      {"F16", ElementKind::F16, toBytes<uint16_t>({0xc200}), -3},
      {"BF16", ElementKind::BF16, toBytes<uint16_t>({0xc040}), -3},
      {"I64", ElementKind::I64, toBytes<int64_t>({-3}), -3},
      {"I32", ElementKind::I32, toBytes<int32_t>({-3}), -3},
      {"I8", ElementKind::I8, toBytes<int8_t>({-3}), -3},
      {"U8", ElementKind::U8, toBytes<uint8_t>({253}), 253},
      {"BOOL", ElementKind::U8, toBytes<uint8_t>({1}), 1},
  };
  for (const Case &test : cases) {
    // A scalar, and a list of one.
    for (const char *shape : {"[]", "[1]"}) {
      std::string offsets = "[0, " + std::to_string(test.bytes.size()) + "]";
      std::string file =
          makeFile("{" + makeEntry("w", test.dtype, shape, offsets) + "}", test.bytes);
      Expected<Array> array = parseSafetensor(file, "w");
      ASSERT_TRUE(bool(array)) << test.dtype << ": " << toString(array.takeError());
      EXPECT_EQ(array->type(), test.type);
      EXPECT_EQ(array->get(0), test.value) << test.dtype;
    }
  }
}

TEST(Safetensors, StepsOverTypesThatItCannotRead) {
  std::string file = makeFile("{" + makeEntry("new", "F4_X", "[3]", "[0, 2]") + ", " +
                                  makeEntry("short", "I16", "[1]", "[2, 4]") + ", " +
                                  makeEntry("w", "F32", "[1]", "[4, 8]") + "}",
                              std::string(4, '\0') + toBytes<float>({7}));
  Expected<Array> array = parseSafetensor(file, "w");
  ASSERT_TRUE(bool(array)) << toString(array.takeError());
  EXPECT_EQ(array->get(0), 7);
  for (const char *name : {"new", "short"})
    EXPECT_NE(getError(file, name).find("which is not supported; use F64, F32"),
              std::string::npos);
  EXPECT_EQ(getError(file, "x"), "has no tensor 'x'; it holds new, short, w");
}

TEST(Safetensors, SaysWhatIsWrong) {
  std::string eight(8, '\0'), good = "{" + makeEntry("w", "F32", "[2]", "[0, 8]") + "}";
  auto one = [&](StringRef dtype, StringRef shape, StringRef offsets) {
    return makeFile("{" + makeEntry("w", dtype, shape, offsets) + "}", eight);
  };
  auto two = [&](StringRef first, StringRef second) {
    return makeFile("{" + makeEntry("a", "F32", "[1]", first) + ", " +
                        makeEntry("w", "F32", "[1]", second) + "}",
                    eight);
  };
  std::string huge(8, '\xff'), deep = "{\"w\": " + std::string(100000, '[');
  struct Case {
    std::string file, message;
  };
  Case cases[] = {
      {"", "is empty"},
      {std::string("\x02\0\0", 3), "is truncated: the file ends before its header"},
      {std::string("\x80\x02}q\0\0\0\0(X\x03", 11),
       "is not a .safetensors file: its header does not start with '{'"},
      {huge + good, "has a header of 18446744073709551615 bytes, above the limit of "
                    "100000000"},
      {makeFile(good, eight).substr(0, 20),
       "is truncated: the header is 61 bytes long, the file ends after 12"},
      {makeFile(good, eight.substr(1)),
       "is truncated: 'w' ends at byte 8, the file holds 7"},
      {makeFile(good, eight + "x"),
       "has bytes left over: its tensors end at byte 8, the file holds 9"},
      {makeFile(deep, ""),
       "malformed header: it is nested deeper than a list in an object in an object"},
      {makeFile("{\"w\": 3}", ""), "malformed header: 'w' is not an object"},
      {makeFile("{\"w\": {}}", ""), "malformed header: 'w' has no 'dtype'"},
      {makeFile("{\"__metadata__\": 1}", ""),
       "malformed header: '__metadata__' is not an object"},
      {makeFile("{}", ""), "has no tensor 'w'; it holds none"},
      {one("F32", "2", "[0, 8]"), "malformed header: 'w' has no 'shape' of sizes >= 0"},
      {one("F32", "[-2]", "[0, 8]"),
       "malformed header: 'w' has no 'shape' of sizes >= 0"},
      {one("F32", "[2.5]", "[0, 8]"),
       "malformed header: 'w' has no 'shape' of sizes >= 0"},
      {one("F32", "[2]", "[8, 0]"),
       "malformed header: 'w' has no 'data_offsets' [begin, end]"},
      {one("F32", "[2]", "[0]"),
       "malformed header: 'w' has no 'data_offsets' [begin, end]"},
      {one("F32", "[3]", "[0, 8]"),
       "malformed header: 'w' of shape [3] and dtype F32 is 12 bytes, its 'data_offsets' "
       "hold 8"},
      {one("F64", "[2]", "[0, 8]"),
       "malformed header: 'w' of shape [2] and dtype F64 is 16 bytes, its 'data_offsets' "
       "hold 8"},
      {one("F32", "[2]", "[0, 16]"), "is truncated: 'w' ends at byte 16, the file holds "
                                     "8"},
      {one("F32", "[9223372036854775807, 4]", "[0, 8]"),
       "the sizes of 'w', [9223372036854775807, 4], overflow 64 bits"},
      {one("U16", "[4]", "[0, 8]"), "'w' has dtype U16, which is not supported; use F64, "
                                    "F32, F16, BF16, I64, I32, I8, "
                                    "U8 or BOOL"},
      {one("F32", "[1, 1, 1, 1, 2]", "[0, 8]"), "'w' has rank 5, above the limit of 4"},
      {two("[0, 4]", "[0, 4]"), "malformed header: 'a' and 'w' overlap"},
      {two("[2, 6]", "[4, 8]"), "malformed header: bytes 0 to 2 belong to no tensor"},
      {two("[0, 4]", "[2, 6]"), "malformed header: 'a' and 'w' overlap"},
      // The second of two entries of a name hides the first.
      {makeFile("{" + makeEntry("w", "F32", "[1]", "[0, 4]") + ", " +
                    makeEntry("w", "F32", "[1]", "[4, 8]") + "}",
                eight),
       "malformed header: bytes 0 to 4 belong to no tensor"},
  };
  for (const Case &test : cases)
    EXPECT_EQ(getError(test.file), test.message);
  for (const char *text : {"{\"w\": ", "{'w': 1}", "{\"\xff\": 1}"})
    EXPECT_EQ(getError(makeFile(text, "")).find("malformed header: "), 0u) << text;
}

TEST(Safetensors, SurvivesEveryByteChanged) {
  std::string file = makeFile("{" + makeEntry("w", "F32", "[1, 2]", "[0, 8]") + "}",
                              toBytes<float>({1, 2}));
  for (size_t length = 0; length < file.size(); ++length)
    EXPECT_NE(getError(StringRef(file).take_front(length)), "(no error)") << length;
  for (size_t at = 0; at < file.size(); ++at)
    for (int value = 0; value < 256; ++value) {
      std::string changed = file;
      changed[at] = static_cast<char>(value);
      (void)getError(changed);
    }
}

} // namespace
