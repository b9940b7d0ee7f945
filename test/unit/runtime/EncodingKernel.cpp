//===- EncodingKernel.cpp - a kernel with encodings -----------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EncodingKernel.h"

#include "gtest/gtest.h"

using namespace mock;

template <typename T> static int32_t sizeOf(const std::vector<T> &list) {
  return static_cast<int32_t>(list.size());
}

EncodingKernel::EncodingKernel(const sparse_attn_shape &shape, bool withLengths,
                               bool withMean)
    : shape(shape) {
  int64_t b = shape.batch, h = shape.heads, g = shape.kv_heads;
  q = Tensor::random({b, h, shape.queries, D}, 1);
  k = Tensor::random({b, g, shape.keys, D}, 2);
  v = Tensor::random({b, g, shape.keys, Dv}, 3);
  constexpr int kBits = 32;
  queryWeights = Tensor::random({1, (D + 1) * kBits}, 4);
  keyWeights = Tensor::random({h, (D + 1) * kBits}, 5);
  mean = Tensor::random({1, g, D}, 6);
  o = Tensor::filled({b, h, shape.queries, Dv}, 0);
  lse = Tensor::filled({b, h, shape.queries}, 0);

  kernel.addQKV(D, Dv);
  int first = kernel.floats("query_weights", {18, 0});
  kernel.floats("key_weights", {18, 0});
  int meanId = withMean ? kernel.floats("mean", {17, 3, 0}, {-1, -1, D}) : -1;
  int lengths = withLengths ? kernel.layout("kv_len", {1}) : -1;
  Attention &attention = kernel.attention(D, Dv, nullptr, all());
  attention.code.kv_len = lengths;
  attention.code.scores = scores;
  attention.code.score_count = Encodings;
  kernel.outputState(Dv);

  pageStates = {{"page_low", SA_WORD_F32, D, 16, 0},
                {"page_high", SA_WORD_F32, D, 16, 0}};
  hashStates = {{"signatures", SA_WORD_I32, 1, 1, 1}};
  lshStates = {{"hashes", SA_WORD_U16, Tables, 1, 0},
               {"key_norms", SA_WORD_F32, 1, 1, 0}};
  hashInputs = {first, first + 1};
  lshInputs = {meanId};
  hashParameters = {0, kBits};
  lshParameters = {Tables, Bits, 0, withMean ? 0 : 1, 99}; // simple_lsh without a mean
  for (sa_encoding &code : encodings) {
    code.k = 1;
    code.v = 2;
    code.head_dim = D;
    code.value_dim = Dv;
  }
  auto fill =
      [](sa_encoding &code, int kind, int words, const std::vector<sa_key_state> &states,
         const std::vector<int32_t> &inputs, const std::vector<int64_t> &parameters) {
        code.kind = kind;
        code.query_words = words;
        code.states = states.data();
        code.state_count = sizeOf(states);
        code.inputs = inputs.data();
        code.input_count = sizeOf(inputs);
        code.parameters = parameters.data();
        code.parameter_count = sizeOf(parameters);
      };
  fill(encodings[Pages], SA_ENCODE_PAGES, D, pageStates, {}, {});
  fill(encodings[Hash], SA_ENCODE_HASH, 1, hashStates, hashInputs, hashParameters);
  fill(encodings[Lsh], SA_ENCODE_LSH, Tables, lshStates, lshInputs, lshParameters);
  for (int e = 0; e < Encodings; ++e)
    scores[e].encoding = e;
}

const sparse_attn_kernel *EncodingKernel::get() {
  kernel.kernel.encodings = encodings;
  kernel.kernel.encoding_count = Encodings;
  return kernel.get();
}

std::vector<Tensor *> EncodingKernel::inputs() const {
  std::vector<Tensor *> result = {q.get(), k.get(), v.get(), queryWeights.get(),
                                  keyWeights.get()};
  if (lshInputs[0] >= 0)
    result.push_back(mean.get());
  return result;
}

sparse_attn_status EncodingKernel::run(const sparse_attn_plan *plan,
                                       const sparse_attn_options *options) const {
  return mock::run(plan, inputs(), {o.get(), lse.get()}, options);
}

std::vector<uint32_t> EncodingKernel::encodeAlone(const sa_encoder &encoder, int64_t b,
                                                  int64_t h, int64_t n) const {
  const sa_encoding &code = *encoder.code;
  EncodingMock::Planes planes;
  for (int i = 0; i < code.state_count; ++i) {
    size_t bytes;
    EXPECT_TRUE(sa_state_plane_bytes(&code.states[i], n, &bytes));
    planes.data.emplace_back(bytes, 0xee);
    planes.states.push_back(&code.states[i]);
  }
  std::vector<float> scratch(sa_encoding_scratch_bytes(&code) / sizeof(float));
  int64_t heads = sa_encoding_heads(&code, encoder.heads, encoder.kv_heads);
  sa_encode_keys(&encoder, b, h * heads / encoder.heads, 0, n, planes.pointers().data(),
                 scratch.data());
  int64_t block = code.states[0].block;
  return planes.words((n + block - 1) / block);
}
