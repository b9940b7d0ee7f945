//===- EncodingMock.h - encodings written by hand to the ABI --------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An encoding as lib/Package writes it, its tensors, and the states that the runtime
// makes of them, read back word by word.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TEST_UNIT_RUNTIME_ENCODINGMOCK_H
#define SPARSE_ATTN_TEST_UNIT_RUNTIME_ENCODINGMOCK_H

extern "C" {
#include "encoded.h"
}

#include <deque>
#include <functional>
#include <limits>
#include <vector>

namespace mock {

/// A tensor of rank 4 whose rows lie apart from each other, of numbers that are what
/// their type can hold.
class Cube {
public:
  using Fill = std::function<double(int64_t, int64_t, int64_t, int64_t)>;
  Cube(std::vector<int64_t> size, const Fill &fill, sa_real type = SA_F32,
       bool gaps = false);
  static Cube ofInts(std::vector<int64_t> size, const std::vector<int32_t> &values);

  double operator()(int64_t i0, int64_t i1, int64_t i2, int64_t i3) const;
  std::vector<double> row(int64_t i0, int64_t i1, int64_t i2) const;

  sa_view view{};
  sa_real type = SA_F32;

private:
  Cube() = default;
  std::vector<uint8_t> storage;
};

inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
inline constexpr double kInf = std::numeric_limits<double>::infinity();
inline constexpr sa_real kTypes[] = {SA_F32, SA_F16, SA_BF16};

/// Where to cut keys [0, n) so that they are encoded one by one.
std::vector<int64_t> everyKey(int64_t n);

/// Numbers of [-1, 1] that look random, and integers of [-limit, limit].
Cube::Fill scatter(unsigned seed, double scale = 1);
Cube::Fill scatterIntegers(unsigned seed, int limit);

struct Shape {
  int64_t batch, heads, kvHeads, queries, keys;
};

class EncodingMock {
public:
  /// Queries, keys and values are values 0, 1 and 2; weights follow.
  EncodingMock(int kind, Shape shape, int64_t d, int64_t dv, const Cube::Fill &fill,
               sa_real type = SA_F32, bool gaps = false);
  ~EncodingMock();

  void addState(int word, int64_t width, int64_t block = 1, bool perQueryHead = false);
  void addInput(Cube cube);
  void addAbsentInput();

  /// Completes the descriptor; after this, nothing is added.
  const sa_encoder &get();

  Shape shape;
  Cube q, k, v;
  std::deque<Cube> weights;
  std::vector<int64_t> parameters;
  std::vector<double> reals;
  int64_t queryWords = 0;
  sa_encoding code{};
  sa_encoder encoder{};

  /// The states of one (b, head) of keys [0, n), from keys [cuts[i], cuts[i + 1]) at a
  /// time.
  struct Planes {
    std::vector<std::vector<uint8_t>> data;
    std::vector<const sa_key_state *> states;
    double real(int state, int64_t unit, int64_t word) const;
    uint32_t integer(int state, int64_t unit, int64_t word) const;
    std::vector<void *> pointers();
    /// The words of the first `units` units.
    std::vector<uint32_t> words(int64_t units) const;
  };
  Planes makePlanes();
  Planes encode(int64_t b, int64_t head, int64_t n, std::vector<int64_t> cuts = {});
  void encodeInto(Planes &planes, int64_t b, int64_t head, int64_t first, int64_t end);

  /// The words of a query, as integers and as numbers.
  std::vector<uint32_t> query(int64_t b, int64_t h, int64_t i0, int64_t i1 = -1);
  std::vector<float> queryReals(int64_t b, int64_t h, int64_t i0, int64_t i1 = -1);

private:
  std::vector<sa_key_state> states;
  std::vector<int32_t> inputs;
  std::vector<sa_view> values;
};

} // namespace mock

#endif // SPARSE_ATTN_TEST_UNIT_RUNTIME_ENCODINGMOCK_H
