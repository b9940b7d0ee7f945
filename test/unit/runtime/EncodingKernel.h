//===- EncodingKernel.h - a kernel with encodings -------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An attention that keeps every key, and names three encodings: pages of 16, a hash for
// each query head, and hash tables with or without a mean operand.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TEST_UNIT_RUNTIME_ENCODINGKERNEL_H
#define SPARSE_ATTN_TEST_UNIT_RUNTIME_ENCODINGKERNEL_H

#include "EncodingMock.h"
#include "MockKernel.h"

namespace mock {

class EncodingKernel {
public:
  enum { Pages, Hash, Lsh, Encodings };
  enum { D = 5, Dv = 3, Tables = 4, Bits = 6 };

  /// With a mean the states of a key depend on that key alone.
  explicit EncodingKernel(const sparse_attn_shape &shape, bool withLengths = false,
                          bool withMean = false);
  const sparse_attn_kernel *get();

  /// The inputs of a run, in order.
  std::vector<Tensor *> inputs() const;
  sparse_attn_status run(const sparse_attn_plan *plan,
                         const sparse_attn_options *options = nullptr) const;

  /// The states of the keys below n that query head `h` reads, made at once.
  std::vector<uint32_t> encodeAlone(const sa_encoder &encoder, int64_t b, int64_t h,
                                    int64_t n) const;

  sparse_attn_shape shape;
  Kernel kernel;
  std::unique_ptr<Tensor> q, k, v, queryWeights, keyWeights, mean, o, lse;
  std::vector<sa_key_state> pageStates, hashStates, lshStates;
  std::vector<int32_t> hashInputs, lshInputs;
  std::vector<int64_t> hashParameters, lshParameters;
  sa_encoding encodings[Encodings]{};
  sa_score scores[Encodings]{};
};

} // namespace mock

#endif // SPARSE_ATTN_TEST_UNIT_RUNTIME_ENCODINGKERNEL_H
