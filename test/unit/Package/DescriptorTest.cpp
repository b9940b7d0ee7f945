//===- DescriptorTest.cpp - the constant data is what abi.h declares ------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Loads a library and compares every field, read through abi.h, with what was
// put in.
//
//===----------------------------------------------------------------------===//

#include "MadeLibrary.h"
#include "sparse_attn/abi.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/ScopeExit.h"
#include <dlfcn.h>

using namespace sparse_attn;

namespace {

template <typename T>
void compareNumbers(const T *found, int32_t count, const std::vector<T> &expected) {
  EXPECT_EQ(std::vector<T>(found, found + count), expected);
  EXPECT_EQ(found == nullptr, expected.empty());
}

void compareTensors(const sa_tensor *found, int32_t count,
                    const std::vector<TensorDesc> &expected) {
  ASSERT_EQ(count, static_cast<int32_t>(expected.size()));
  for (int32_t i = 0; i < count; ++i) {
    const sa_tensor &f = found[i];
    const TensorDesc &e = expected[i];
    EXPECT_EQ(f.name, e.name);
    EXPECT_EQ(f.layout, e.layout ? 1 : 0);
    EXPECT_EQ(f.rank, e.rank);
    EXPECT_EQ(f.type_code, e.typeCode);
    EXPECT_EQ(f.type_bits, e.typeBits);
    EXPECT_EQ(f.value, e.value);
    EXPECT_EQ(f.reserved, 0);
    for (int axis = 0; axis < 4; ++axis) {
      EXPECT_EQ(f.dims[axis], e.dims[axis]);
      EXPECT_EQ(f.axis[axis], e.axis[axis]);
    }
  }
}

void compareLevels(const sa_attention &found, const AttentionDesc &expected) {
  ASSERT_EQ(found.level_count, static_cast<int32_t>(expected.levels.size()));
  for (int32_t i = 0; i < found.level_count; ++i) {
    const sa_level &f = found.levels[i];
    const LevelDesc &e = expected.levels[i];
    EXPECT_EQ(f.level, e.level);
    EXPECT_EQ(f.name, e.name);
    EXPECT_EQ(f.scratch_bytes, e.scratchBytes);
    EXPECT_EQ(f.packed_bytes, e.packedBytes);
    EXPECT_EQ(f.stack_rows, e.stackRows);
    EXPECT_EQ(f.state_bytes, e.stateBytes);
    // The functions of Inputs/kernel.c leave their mark.
    int packed = 0, scratch = 0;
    sa_pack_args pack{};
    pack.packed = &packed;
    f.pack(&pack);
    sa_attend_args attend{};
    attend.scratch = &scratch;
    f.attend(&attend);
    EXPECT_EQ(packed, e.level == SA_LEVEL_AVX2 ? 12 : 15);
    EXPECT_EQ(scratch, e.level == SA_LEVEL_AVX2 ? 22 : 25);
    f.combine(&attend);
    EXPECT_EQ(scratch, e.level == SA_LEVEL_AVX2 ? 32 : 35);
    ASSERT_EQ(f.fill == nullptr, e.fillSymbol.empty());
    if (!f.fill)
      continue;
    uint8_t bits = 0;
    sa_fill_args fill{};
    fill.bits = &bits;
    f.fill(&fill);
    EXPECT_EQ(bits, 35);
  }
}

void compareSets(const sa_attention &found, const AttentionDesc &expected) {
  ASSERT_EQ(found.set_count, static_cast<int32_t>(expected.sets.size()));
  for (auto [i, e] : llvm::enumerate(expected.sets)) {
    const sa_set &f = found.sets[i];
    EXPECT_EQ(f.kind, e.kind);
    EXPECT_EQ(f.score, e.score);
    EXPECT_EQ(f.encoding, e.encoding);
    EXPECT_EQ(f.block_q, e.blockQ);
    EXPECT_EQ(f.block_k, e.blockK);
    EXPECT_EQ(f.sampled, e.sampled ? 1 : 0);
    compareNumbers(f.operands, f.operand_count, e.operands);
    compareNumbers(f.inputs, f.input_count, e.inputs);
    compareNumbers(f.parameters, f.parameter_count, e.parameters);
    compareNumbers(f.reals, f.real_count, e.reals);
    EXPECT_EQ(f.classify != nullptr, !e.classifySymbol.empty());
  }
  ASSERT_EQ(found.score_count, static_cast<int32_t>(expected.scores.size()));
  for (auto [i, e] : llvm::enumerate(expected.scores)) {
    const sa_score &f = found.scores[i];
    EXPECT_EQ(f.encoding, e.encoding);
    EXPECT_EQ(f.granularity, e.granularity);
    EXPECT_EQ(f.share_group, e.shareGroup ? 1 : 0);
    EXPECT_EQ(f.block, e.block);
    EXPECT_EQ(f.levels, e.levels);
    EXPECT_EQ(f.best, e.best);
    EXPECT_EQ(f.step, e.step);
  }
}

void compareAttention(const sa_attention &f, const AttentionDesc &e) {
  EXPECT_EQ(f.head_dim, e.headDim);
  EXPECT_EQ(f.value_dim, e.valueDim);
  EXPECT_EQ(f.tile_rows, e.tileRows);
  EXPECT_EQ(f.tile_keys, e.tileKeys);
  EXPECT_EQ(f.binding, e.binding);
  EXPECT_EQ(f.per_batch, e.perBatch ? 1 : 0);
  EXPECT_EQ(f.per_head, e.perHead ? 1 : 0);
  EXPECT_EQ(f.key_block, e.keyBlock);
  EXPECT_EQ(f.period, e.period);
  EXPECT_EQ(f.q, e.q);
  EXPECT_EQ(f.k, e.k);
  EXPECT_EQ(f.v, e.v);
  EXPECT_EQ(f.kv_len, e.kvLen);
  EXPECT_EQ(f.q_len, e.qLen);
  EXPECT_EQ(f.q_offset, e.qOffset);
  EXPECT_EQ(f.sinks, e.sinks);
  EXPECT_EQ(f.out, e.out);
  EXPECT_EQ(f.lse, e.lse);
  EXPECT_EQ(f.hop_table, e.hopTable);
  EXPECT_EQ(f.gathered, e.gathered ? 1 : 0);
  compareSets(f, e);
  EXPECT_EQ(f.classify(nullptr, 0, 0, 0, 0, 0, 0, 1), 1);
  ASSERT_EQ(f.table_count, static_cast<int32_t>(e.tables.size()));
  for (int32_t i = 0; i < f.table_count; ++i) {
    EXPECT_EQ(f.tables[i].kind, e.tables[i].kind);
    compareNumbers(f.tables[i].inputs, f.tables[i].input_count, e.tables[i].inputs);
    compareNumbers(f.tables[i].parameters, f.tables[i].parameter_count,
                   e.tables[i].parameters);
  }
  ASSERT_EQ(f.check_count, static_cast<int32_t>(e.checks.size()));
  for (int32_t i = 0; i < f.check_count; ++i) {
    EXPECT_EQ(f.checks[i].kind, e.checks[i].kind);
    EXPECT_EQ(f.checks[i].op, e.checks[i].op);
    compareNumbers(f.checks[i].inputs, f.checks[i].input_count, e.checks[i].inputs);
    compareNumbers(f.checks[i].parameters, f.checks[i].parameter_count,
                   e.checks[i].parameters);
  }
  compareLevels(f, e);
}

void compareEncodings(const sparse_attn_kernel &found, const CompiledKernel &expected) {
  ASSERT_EQ(found.encoding_count, static_cast<int32_t>(expected.encodings.size()));
  for (auto [i, e] : llvm::enumerate(expected.encodings)) {
    const sa_encoding &f = found.encodings[i];
    EXPECT_EQ(f.kind, e.kind);
    EXPECT_EQ(f.k, e.k);
    EXPECT_EQ(f.v, e.v);
    EXPECT_EQ(f.head_dim, e.headDim);
    EXPECT_EQ(f.value_dim, e.valueDim);
    EXPECT_EQ(f.query_words, e.queryWords);
    ASSERT_EQ(f.state_count, static_cast<int32_t>(e.states.size()));
    for (auto [s, state] : llvm::enumerate(e.states)) {
      EXPECT_EQ(f.states[s].name, state.name);
      EXPECT_EQ(f.states[s].word, state.word);
      EXPECT_EQ(f.states[s].width, state.width);
      EXPECT_EQ(f.states[s].block, state.block);
      EXPECT_EQ(f.states[s].per_query_head, state.perQueryHead ? 1 : 0);
    }
    compareNumbers(f.inputs, f.input_count, e.inputs);
    compareNumbers(f.parameters, f.parameter_count, e.parameters);
    compareNumbers(f.reals, f.real_count, e.reals);
  }
}

void compareKernel(const sparse_attn_kernel &found, const CompiledKernel &expected) {
  EXPECT_EQ(found.name, expected.name);
  compareTensors(found.inputs, found.input_count, expected.inputs);
  compareTensors(found.outputs, found.output_count, expected.outputs);
  EXPECT_EQ(found.value_count, expected.valueCount);
  compareEncodings(found, expected);
  ASSERT_EQ(found.step_count, static_cast<int32_t>(expected.steps.size()));
  for (int32_t i = 0; i < found.step_count; ++i) {
    const sa_step &f = found.steps[i];
    const StepDesc &e = expected.steps[i];
    EXPECT_EQ(f.kind, static_cast<int32_t>(e.kind));
    compareNumbers(f.inputs, f.input_count, e.inputs);
    EXPECT_EQ(f.first_result, e.firstResult);
    EXPECT_EQ(f.block, e.block);
    EXPECT_EQ(f.type_code, e.typeCode);
    EXPECT_EQ(f.type_bits, e.typeBits);
    ASSERT_EQ(f.attention != nullptr, e.attention.has_value());
    if (f.attention)
      compareAttention(*f.attention, *e.attention);
  }
}

TEST(Descriptor, EveryFieldArrives) {
  TemporaryFolder folder;
  CompiledLibrary library = makeLibrary();
  auto files = packageLibrary(library, makeOptions(folder));
  ASSERT_TRUE(static_cast<bool>(files)) << llvm::toString(files.takeError());
  void *handle = dlopen(files->sharedLibrary.c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_TRUE(handle) << dlerror();
  llvm::scope_exit close([&] { dlclose(handle); });

  auto *found = static_cast<sparse_attn_library *>(dlsym(handle, SA_LIBRARY_SYMBOL));
  ASSERT_TRUE(found) << dlerror();
  EXPECT_EQ(found->magic, SA_LIBRARY_MAGIC);
  EXPECT_EQ(found->abi_version, static_cast<uint32_t>(SPARSE_ATTN_ABI_VERSION));
  EXPECT_EQ(found->manifest, buildManifest(library));
  ASSERT_EQ(found->kernel_count, library.kernels.size());
  for (uint32_t i = 0; i < found->kernel_count; ++i)
    compareKernel(found->kernels[i], library.kernels[i]);

  using Accessor = const sparse_attn_library *(*)(void);
  auto accessor = reinterpret_cast<Accessor>(dlsym(handle, "made_library"));
  ASSERT_TRUE(accessor) << dlerror();
  EXPECT_EQ(accessor(), found);
}

// The same input gives the same bytes.
TEST(Descriptor, IsReproducible) {
  CompiledLibrary library = makeLibrary();
  auto first = buildDescriptor(library, "{}", false);
  auto second = buildDescriptor(library, "{}", false);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->bytes, second->bytes);
}

} // namespace
