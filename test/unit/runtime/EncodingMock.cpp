//===- EncodingMock.cpp - encodings written by hand to the ABI ------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EncodingMock.h"

#include "gtest/gtest.h"

#include <cstdlib>
#include <cstring>

using namespace mock;

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

Cube::Cube(std::vector<int64_t> size, const Fill &fill, sa_real type, bool gaps)
    : type(type) {
  int64_t bytes = sa_real_bytes(type), stride = 1;
  for (int axis = 3; axis >= 0; --axis) {
    view.size[axis] = size[axis];
    view.stride[axis] = size[axis] > 1 ? stride : 0;
    stride *= size[axis];
    if (gaps && axis > 0)
      stride += 3 + axis;
  }
  storage.assign(static_cast<size_t>(stride * bytes), 0xff);
  view.data = view.allocated = storage.data();
  for (int64_t i0 = 0; i0 < size[0]; ++i0)
    for (int64_t i1 = 0; i1 < size[1]; ++i1)
      for (int64_t i2 = 0; i2 < size[2]; ++i2)
        for (int64_t i3 = 0; i3 < size[3]; ++i3) {
          double value = fill(i0, i1, i2, i3);
          sa_write_reals(type, &value, 1, sa_at(&view, bytes, i0, i1, i2, i3));
        }
}

Cube Cube::ofInts(std::vector<int64_t> size, const std::vector<int32_t> &values) {
  Cube cube;
  cube.storage.resize(values.size() * sizeof(int32_t));
  std::memcpy(cube.storage.data(), values.data(), cube.storage.size());
  cube.view = sa_contiguous_view(cube.storage.data(), size.data());
  return cube;
}

double Cube::operator()(int64_t i0, int64_t i1, int64_t i2, int64_t i3) const {
  float value;
  sa_read_reals(type, sa_at(&view, sa_real_bytes(type), i0, i1, i2, i3), 1, &value);
  return value;
}

std::vector<double> Cube::row(int64_t i0, int64_t i1, int64_t i2) const {
  std::vector<double> result;
  for (int64_t d = 0; d < view.size[3]; ++d)
    result.push_back((*this)(i0, i1, i2, d));
  return result;
}

static uint32_t hash(unsigned seed, int64_t i0, int64_t i1, int64_t i2, int64_t i3) {
  uint32_t x = seed * 0x9e3779b9u;
  for (int64_t i : {i0, i1, i2, i3}) {
    x ^= static_cast<uint32_t>(i) + 0x7f4a7c15u + (x << 6) + (x >> 2);
    x = (x ^ (x >> 15)) * 0x2c1b3c6du;
    x = (x ^ (x >> 12)) * 0x297a2d39u;
  }
  return x ^ (x >> 15);
}

std::vector<int64_t> mock::everyKey(int64_t n) {
  std::vector<int64_t> cuts;
  for (int64_t j = 1; j < n; ++j)
    cuts.push_back(j);
  return cuts;
}

Cube::Fill mock::scatter(unsigned seed, double scale) {
  return [=](int64_t i0, int64_t i1, int64_t i2, int64_t i3) {
    return scale * (hash(seed, i0, i1, i2, i3) / 2147483648.0 - 1);
  };
}

Cube::Fill mock::scatterIntegers(unsigned seed, int limit) {
  return [=](int64_t i0, int64_t i1, int64_t i2, int64_t i3) {
    return static_cast<double>(hash(seed, i0, i1, i2, i3) % (2 * limit + 1)) - limit;
  };
}

//===----------------------------------------------------------------------===//
// Encodings
//===----------------------------------------------------------------------===//

static Cube::Fill shifted(Cube::Fill fill, int64_t by) {
  return [fill = std::move(fill), by](int64_t i0, int64_t i1, int64_t i2, int64_t i3) {
    return fill(i0 + by, i1, i2, i3);
  };
}

EncodingMock::EncodingMock(int kind, Shape shape, int64_t d, int64_t dv,
                           const Cube::Fill &fill, sa_real type, bool gaps)
    : shape(shape),
      q({shape.batch, shape.heads, shape.queries, d}, shifted(fill, 0), type, gaps),
      k({shape.batch, shape.kvHeads, shape.keys, d}, shifted(fill, 50), type, gaps),
      v({shape.batch, shape.kvHeads, shape.keys, dv}, shifted(fill, 90), type, gaps) {
  code.kind = kind;
  code.k = 1;
  code.v = 2;
  code.head_dim = static_cast<int32_t>(d);
  code.value_dim = static_cast<int32_t>(dv);
}

EncodingMock::~EncodingMock() { sa_release_directions(encoder.directions); }

void EncodingMock::addState(int word, int64_t width, int64_t block, bool perQueryHead) {
  states.push_back({"state", word, static_cast<int32_t>(width),
                    static_cast<int32_t>(block), perQueryHead});
}

void EncodingMock::addInput(Cube cube) {
  weights.push_back(std::move(cube));
  inputs.push_back(static_cast<int32_t>(2 + weights.size()));
}
void EncodingMock::addAbsentInput() { inputs.push_back(-1); }

const sa_encoder &EncodingMock::get() {
  code.query_words = static_cast<int32_t>(queryWords);
  code.state_count = static_cast<int32_t>(states.size());
  code.input_count = static_cast<int32_t>(inputs.size());
  code.parameter_count = static_cast<int32_t>(parameters.size());
  code.real_count = static_cast<int32_t>(reals.size());
  code.states = states.data();
  code.inputs = inputs.data();
  code.parameters = parameters.data();
  code.reals = reals.data();
  values = {q.view, k.view, v.view};
  for (const Cube &cube : weights)
    values.push_back(cube.view);
  encoder.code = &code;
  encoder.values = values.data();
  encoder.type = k.type;
  encoder.heads = shape.heads;
  encoder.kv_heads = shape.kvHeads;
  encoder.project = sa_project;
  EXPECT_TRUE(sa_encoding_directions(&code, &encoder.directions));
  return encoder;
}

double EncodingMock::Planes::real(int state, int64_t unit, int64_t word) const {
  int64_t at = sa_state_index(states[state], unit, word);
  const uint8_t *bytes = data[state].data();
  switch (states[state]->word) {
  case SA_WORD_F16:
    return sa_from_f16(reinterpret_cast<const uint16_t *>(bytes)[at]);
  case SA_WORD_BF16:
    return sa_from_bf16(reinterpret_cast<const uint16_t *>(bytes)[at]);
  default:
    return reinterpret_cast<const float *>(bytes)[at];
  }
}

uint32_t EncodingMock::Planes::integer(int state, int64_t unit, int64_t word) const {
  int64_t at = sa_state_index(states[state], unit, word);
  const uint8_t *bytes = data[state].data();
  switch (states[state]->word) {
  case SA_WORD_U8:
    return bytes[at];
  case SA_WORD_U16:
  case SA_WORD_F16:
  case SA_WORD_BF16:
    return reinterpret_cast<const uint16_t *>(bytes)[at];
  default:
    return reinterpret_cast<const uint32_t *>(bytes)[at];
  }
}

std::vector<void *> EncodingMock::Planes::pointers() {
  std::vector<void *> result;
  for (std::vector<uint8_t> &plane : data)
    result.push_back(plane.data());
  return result;
}

std::vector<uint32_t> EncodingMock::Planes::words(int64_t units) const {
  std::vector<uint32_t> result;
  for (size_t state = 0; state < states.size(); ++state)
    for (int64_t unit = 0; unit < units; ++unit)
      for (int64_t word = 0; word < states[state]->width; ++word)
        result.push_back(integer(static_cast<int>(state), unit, word));
  return result;
}

EncodingMock::Planes EncodingMock::makePlanes() {
  Planes planes;
  for (const sa_key_state &state : states) {
    size_t bytes;
    EXPECT_TRUE(sa_state_plane_bytes(&state, shape.keys, &bytes));
    planes.data.emplace_back(bytes, 0xff);
    planes.states.push_back(&state);
  }
  return planes;
}

/// Scratch that is full of NaN.
static std::vector<float> makeScratch(const sa_encoding &code) {
  return std::vector<float>(sa_encoding_scratch_bytes(&code) / sizeof(float),
                            std::numeric_limits<float>::quiet_NaN());
}

void EncodingMock::encodeInto(Planes &planes, int64_t b, int64_t head, int64_t first,
                              int64_t end) {
  std::vector<float> scratch = makeScratch(code);
  sa_encode_keys(&encoder, b, head, first, end, planes.pointers().data(), scratch.data());
}

EncodingMock::Planes EncodingMock::encode(int64_t b, int64_t head, int64_t n,
                                          std::vector<int64_t> cuts) {
  Planes planes = makePlanes();
  cuts.insert(cuts.begin(), 0);
  cuts.push_back(n);
  for (size_t i = 0; i + 1 < cuts.size(); ++i)
    encodeInto(planes, b, head, cuts[i], cuts[i + 1]);
  return planes;
}

std::vector<uint32_t> EncodingMock::query(int64_t b, int64_t h, int64_t i0, int64_t i1) {
  std::vector<float> scratch = makeScratch(code);
  std::vector<uint32_t> words(code.query_words, 0x7fc00000u);
  sa_encode_query(&encoder, b, h, i0, i1 < 0 ? i0 + 1 : i1, words.data(), scratch.data());
  return words;
}

std::vector<float> EncodingMock::queryReals(int64_t b, int64_t h, int64_t i0,
                                            int64_t i1) {
  std::vector<uint32_t> words = query(b, h, i0, i1);
  std::vector<float> result(words.size());
  std::memcpy(result.data(), words.data(), words.size() * sizeof(float));
  return result;
}
