//===- NpyTest.cpp - reading and writing .npy files -----------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Support/Npy.h"
#include "Bytes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include <gtest/gtest.h>

using namespace llvm;
using namespace sparse_attn;

namespace {

/// A file: version 1 unless told otherwise, then `dict`, then `elements`.
std::string makeFile(StringRef dict, StringRef elements, char major = 1, char minor = 0) {
  std::string file = "\x93NUMPY";
  file += major;
  file += minor;
  for (int byte = 0; byte < (major == 1 ? 2 : 4); ++byte)
    file += static_cast<char>((dict.size() >> (8 * byte)) & 0xff);
  return file + dict.str() + elements.str();
}

std::string getError(StringRef file) {
  Expected<Array> array = parseNpy(file);
  return array ? "(no error)" : toString(array.takeError());
}

const char *const kFloats =
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";

TEST(Npy, ReadsEveryVersion) {
  std::string elements = toBytes<float>({0, 1, 2, 3, 4, 5});
  for (char major : {1, 2, 3}) {
    Expected<Array> array = parseNpy(makeFile(kFloats, elements, major));
    ASSERT_TRUE(bool(array)) << toString(array.takeError());
    EXPECT_EQ(array->type(), ElementKind::F32);
    EXPECT_EQ(array->shape(), (ArrayRef<int64_t>{2, 3}));
    for (int i = 0; i < 6; ++i)
      EXPECT_EQ(array->as<float>()[i], i);
  }
}

TEST(Npy, ReadsEveryType) {
  struct Case {
    const char *descr;
    ElementKind type;
    std::string bytes;
  };
  Case cases[] = {
      {"<f8", ElementKind::F64, toBytes<double>({-3})},
      {"<f4", ElementKind::F32, toBytes<float>({-3})},
      {"<f2", ElementKind::F16, toBytes<uint16_t>({0xc200})},
      {"<i8", ElementKind::I64, toBytes<int64_t>({-3})},
      {"<i4", ElementKind::I32, toBytes<int32_t>({-3})},
      {"|i1", ElementKind::I8, toBytes<int8_t>({-3})},
  };
  for (const Case &test : cases) {
    std::string dict = std::string("{'descr': '") + test.descr +
                       "', 'fortran_order': False, 'shape': (1,)}";
    Expected<Array> array = parseNpy(makeFile(dict, test.bytes));
    ASSERT_TRUE(bool(array)) << toString(array.takeError());
    EXPECT_EQ(array->type(), test.type);
    EXPECT_EQ(array->get(0), -3);
  }
  for (const char *descr : {"|u1", "|b1"}) {
    std::string dict =
        std::string("{'descr': '") + descr + "', 'fortran_order': False, 'shape': (1,)}";
    Expected<Array> array = parseNpy(makeFile(dict, "\x01"));
    ASSERT_TRUE(bool(array)) << toString(array.takeError());
    EXPECT_EQ(array->type(), ElementKind::U8);
  }
}

TEST(Npy, ReordersFortranOrder) {
  // Element (i, j, k) is 100 i + 10 j + k; the first index runs fastest.
  std::string elements;
  for (int k = 0; k < 2; ++k)
    for (int j = 0; j < 3; ++j)
      for (int i = 0; i < 2; ++i)
        elements += toBytes<int32_t>({100 * i + 10 * j + k});
  Expected<Array> array = parseNpy(
      makeFile("{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3, 2)}", elements));
  ASSERT_TRUE(bool(array)) << toString(array.takeError());
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 2; ++k)
        EXPECT_EQ(array->get(array->position({i, j, k})), 100 * i + 10 * j + k);
}

TEST(Npy, TakesUnusualButLegalHeaders) {
  // Any order of keys, double quotes, Python 2 integers, a scalar, zero sizes.
  const char *dicts[] = {
      "{\"shape\":(1L,),\"fortran_order\":False,\"descr\":\"<f4\"}",
      "  {'descr': '<f4', 'fortran_order': True, 'shape': ()}   \n",
  };
  for (const char *dict : dicts) {
    Expected<Array> array = parseNpy(makeFile(dict, toBytes<float>({7})));
    ASSERT_TRUE(bool(array)) << toString(array.takeError());
    EXPECT_EQ(array->get(0), 7);
  }
  Expected<Array> empty = parseNpy(makeFile(
      "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 0, 8)}",
      ""));
  ASSERT_TRUE(bool(empty)) << toString(empty.takeError());
  EXPECT_EQ(empty->elements(), 0);
}

TEST(Npy, SaysWhatIsWrong) {
  std::string elements = toBytes<float>({0, 1, 2, 3, 4, 5});
  auto dict = [](StringRef descr, StringRef order, StringRef shape) {
    return ("{'descr': " + descr + ", 'fortran_order': " + order + ", 'shape': " + shape +
            "}")
        .str();
  };
  struct Case {
    std::string file, message;
  };
  Case cases[] = {
      {"", "is empty"},
      {"PK\x03\x04 a zip file", "is not a .npy file: it does not start with \\x93NUMPY"},
      {"\x93NUMPY", "is truncated: the file ends before its header"},
      {std::string("\x93NUMPY\x02\0\0\0", 10),
       "is truncated: the file ends before its header"},
      {makeFile(kFloats, elements, 4),
       "has .npy version 4.0; 1.0, 2.0 and 3.0 are supported"},
      {makeFile(kFloats, elements, 1, 1),
       "has .npy version 1.1; 1.0, 2.0 and 3.0 are supported"},
      {makeFile(kFloats, "").substr(0, 30),
       "is truncated: the header is 60 bytes long, the file ends after 20"},
      {makeFile(kFloats, StringRef(elements).drop_back()),
       "is truncated: shape [2, 3] of f32 is 24 bytes, the file holds 23"},
      {makeFile(kFloats, elements + "x"),
       "has bytes left over: shape [2, 3] of f32 is 24 bytes, the file holds 25"},
      {makeFile(dict("'|O'", "False", "(1,)"), ""),
       "dtype object is not supported; convert with astype to a number type"},
      {makeFile(dict("'>f4'", "False", "(1,)"), ""),
       "big-endian data ('>f4') is not supported; convert with astype('<f4')"},
      {makeFile(dict("[('x', '<f4')]", "False", "(1,)"), ""),
       "structured dtypes are not supported; save one array per field"},
      {makeFile(dict("'<c8'", "False", "(1,)"), ""),
       "dtype '<c8' is not supported; use float64, float32, float16, int64, int32, int8, "
       "uint8 or bool"},
      {makeFile(dict("'float32'", "False", "(1,)"), ""),
       "malformed header: 'descr' is 'float32', not a dtype"},
      {makeFile(dict("4", "False", "(1,)"), ""),
       "malformed header: 'descr' is not a string"},
      {makeFile(dict("'<f4'", "0", "(1,)"), ""),
       "malformed header: 'fortran_order' is neither True nor False"},
      {makeFile(dict("'<f4'", "False", "[1]"), ""),
       "malformed header: 'shape' is not a tuple"},
      {makeFile(dict("'<f4'", "False", "(-1,)"), ""),
       "malformed header: 'shape' holds a negative size"},
      {makeFile(dict("'<f4'", "False", "(x,)"), ""),
       "malformed header: 'shape' is not a tuple of integers"},
      {makeFile(dict("'<f4'", "False", "(99999999999999999999,)"), ""),
       "malformed header: 'shape' holds a size that does not fit 64 bits"},
      {makeFile(dict("'<f4'", "False", "(1 2)"), ""),
       "malformed header: 'shape' is not closed"},
      {makeFile(dict("'<f4'", "False", "(1, 1, 1, 1, 1)"), ""),
       "rank 5 is above the limit of 4"},
      {makeFile(dict("'<f4'", "False", "(4294967296, 4294967296)"), ""),
       "the sizes of shape [4294967296, 4294967296] overflow 64 bits"},
      {makeFile(dict("'<f4'", "False", "(4611686018427387904,)"), ""),
       "the sizes of shape [4611686018427387904] overflow 64 bits"},
      {makeFile(dict("'<f4'", "False", "(1099511627776,)"), "abcd"),
       "is truncated: shape [1099511627776] of f32 is 4398046511104 bytes, the file "
       "holds 4"},
      {makeFile("(1,)", ""), "malformed header: it does not start with '{'"},
      {makeFile("{'descr'", ""), "malformed header: no ':' after 'descr'"},
      {makeFile("{'descr': '<f4'", ""), "malformed header: the dictionary is not closed"},
      {makeFile("{'descr': '<f4}", ""), "malformed header: 'descr' is not a string"},
      {makeFile("{3: 4}", ""), "malformed header: a key is not a string"},
      {makeFile("{'size': 4}", ""), "malformed header: unknown key 'size'"},
      {makeFile("{'descr': '<f4', 'descr': '<f4'}", ""),
       "malformed header: 'descr' appears twice"},
      {makeFile("{'descr': '<f4', 'fortran_order': True}", ""),
       "malformed header: 'shape' is missing"},
      {makeFile("{} trailing", ""),
       "malformed header: there is text after the dictionary"},
  };
  for (const Case &test : cases)
    EXPECT_EQ(getError(test.file), test.message);
}

TEST(Npy, NoTruncationOfAFileCrashes) {
  std::string file = makeFile(kFloats, toBytes<float>({0, 1, 2, 3, 4, 5}));
  for (size_t size = 0; size < file.size(); ++size)
    EXPECT_NE(getError(StringRef(file).take_front(size)), "(no error)") << size;
}

class NpyFile : public ::testing::Test {
protected:
  void SetUp() override {
    ASSERT_FALSE(sys::fs::createUniqueDirectory("npy-test", folder));
    path = folder;
    sys::path::append(path, "a.npy");
  }
  void TearDown() override { sys::fs::remove_directories(folder); }

  std::vector<std::string> listFolder() {
    std::vector<std::string> names;
    std::error_code error;
    for (sys::fs::directory_iterator it(folder, error), end; it != end && !error;
         it.increment(error))
      names.push_back(sys::path::filename(it->path()).str());
    return names;
  }

  SmallString<128> folder, path;
};

TEST_F(NpyFile, RoundTrip) {
  for (auto shape : {SmallVector<int64_t>{}, {5}, {2, 3}, {2, 0, 4}, {1, 2, 3, 4}}) {
    Expected<Array> array = Array::create(ElementKind::I64, shape);
    ASSERT_TRUE(bool(array));
    for (int64_t i = 0; i < array->elements(); ++i)
      array->as<int64_t>()[i] = i - 2;
    Error error = writeNpy(path, *array);
    ASSERT_FALSE(bool(error)) << toString(std::move(error));
    Expected<Array> back = readNpy(path);
    ASSERT_TRUE(bool(back)) << toString(back.takeError());
    EXPECT_EQ(back->shape(), array->shape());
    EXPECT_EQ(std::memcmp(back->data(), array->data(), array->bytes()), 0);
  }
  EXPECT_EQ(listFolder(), std::vector<std::string>{"a.npy"});
}

TEST_F(NpyFile, ErrorsNameTheFile) {
  Expected<Array> missing = readNpy(path);
  ASSERT_FALSE(bool(missing));
  EXPECT_EQ(toString(missing.takeError()),
            ("cannot read '" + path + "': No such file or directory").str());
  {
    std::error_code error;
    raw_fd_ostream out(path, error);
    out << "text";
  }
  Expected<Array> bad = readNpy(path);
  ASSERT_FALSE(bool(bad));
  EXPECT_EQ(toString(bad.takeError()), ("'" + path +
                                        "': is not a .npy file: it does not start with "
                                        "\\x93NUMPY")
                                           .str());
}

TEST_F(NpyFile, AFailedWriteLeavesNothing) {
  Expected<Array> array = Array::create(ElementKind::F32, {1 << 10});
  ASSERT_TRUE(bool(array));
  Error missing = writeNpy((folder + "/none/a.npy").str(), *array);
  EXPECT_EQ(
      toString(std::move(missing)),
      ("cannot write '" + folder + "/none/a.npy': No such file or directory").str());
  Error directory = writeNpy(folder, *array);
  EXPECT_EQ(toString(std::move(directory)),
            ("cannot write '" + folder + "': Is a directory").str());
  EXPECT_TRUE(listFolder().empty());
}

TEST(Npy, AFullDeviceIsAnError) {
  if (!sys::fs::exists("/dev/full"))
    GTEST_SKIP();
  Expected<Array> array = Array::create(ElementKind::F32, {1 << 10});
  ASSERT_TRUE(bool(array));
  Error full = writeNpy("/dev/full", *array);
  EXPECT_EQ(toString(std::move(full)),
            "cannot write '/dev/full': No space left on device");
  EXPECT_TRUE(sys::fs::exists("/dev/full"));
}

TEST(Array, ConvertsWhatLosesNothing) {
  Expected<Array> wide = Array::create(ElementKind::I64, {2});
  ASSERT_TRUE(bool(wide));
  wide->as<int64_t>()[1] = -7;
  Expected<Array> narrow = std::move(*wide).convertTo(ElementKind::I32);
  ASSERT_TRUE(bool(narrow));
  EXPECT_EQ(narrow->as<int32_t>()[1], -7);

  Expected<Array> big = Array::create(ElementKind::I64, {1});
  ASSERT_TRUE(bool(big));
  big->as<int64_t>()[0] = int64_t(1) << 31;
  EXPECT_EQ(toString(std::move(*big).convertTo(ElementKind::I32).takeError()),
            "holds 2147483648, which does not fit i32");

  Expected<Array> doubles = Array::create(ElementKind::F64, {1});
  ASSERT_TRUE(bool(doubles));
  EXPECT_EQ(toString(std::move(*doubles).convertTo(ElementKind::F32).takeError()),
            "holds f64, wants f32");
}

TEST(Array, RefusesSizesThatOverflow) {
  Expected<Array> array =
      Array::create(ElementKind::F64, {int64_t(1) << 31, int64_t(1) << 31, 4});
  ASSERT_FALSE(bool(array));
  EXPECT_EQ(
      toString(array.takeError()),
      "an array of shape [2147483648, 2147483648, 4] does not fit the address space");
}

} // namespace
