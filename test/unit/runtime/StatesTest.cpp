//===- StatesTest.cpp - states that a caller keeps beside K ---------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EncodingKernel.h"

#include "gtest/gtest.h"

#include <cstdio>
#include <cstring>
#include <fstream>
#include <unistd.h>

using namespace mock;

namespace {

constexpr sparse_attn_shape kShape = {2, 4, 2, 1, 70};

struct StatesDeleter {
  void operator()(sparse_attn_states *states) const {
    sparse_attn_states_destroy(states);
  }
};
using States = std::unique_ptr<sparse_attn_states, StatesDeleter>;

States makeStates(EncodingKernel &kernel, sparse_attn_shape shape = kShape) {
  sparse_attn_states *states = nullptr;
  EXPECT_EQ(sparse_attn_states_create(kernel.get(), &shape, &states), SPARSE_ATTN_OK)
      << sparse_attn_last_error();
  return States(states);
}

sparse_attn_status extend(const States &states, const EncodingKernel &kernel,
                          std::vector<int64_t> lengths, int threads = 1) {
  std::vector<const DLTensor *> inputs;
  for (Tensor *tensor : kernel.inputs())
    inputs.push_back(tensor ? &tensor->dl : nullptr);
  sparse_attn_options options{};
  options.threads = threads;
  return sparse_attn_states_extend(states.get(), inputs.data(), inputs.size(),
                                   lengths.data(), &options);
}

/// All words that the states hold of their keys.
std::vector<uint32_t> words(const States &states) {
  std::vector<uint32_t> result;
  const sparse_attn_kernel &kernel = *states->kernel;
  for (int e = 0; e < kernel.encoding_count; ++e) {
    const sa_encoding &code = kernel.encodings[e];
    int64_t heads = sa_encoding_heads(&code, states->shape.heads, states->shape.kv_heads);
    for (int64_t plane = 0; plane < states->shape.batch * heads; ++plane) {
      EncodingMock::Planes planes;
      for (int s = 0; s < code.state_count; ++s) {
        const char *from =
            states->encodings[e].planes[s] + plane * states->encodings[e].plane_bytes[s];
        EXPECT_EQ(reinterpret_cast<uintptr_t>(from) % 64, 0u);
        planes.data.emplace_back(from, from + states->encodings[e].plane_bytes[s]);
        planes.states.push_back(&code.states[s]);
      }
      int64_t n = sparse_attn_states_length(states.get(), plane / heads);
      std::vector<uint32_t> some =
          planes.words((n + code.states[0].block - 1) / code.states[0].block);
      result.insert(result.end(), some.begin(), some.end());
    }
  }
  return result;
}

std::vector<uint32_t> fresh(EncodingKernel &kernel, std::vector<int64_t> lengths) {
  States states = makeStates(kernel);
  EXPECT_EQ(extend(states, kernel, lengths), SPARSE_ATTN_OK) << sparse_attn_last_error();
  return words(states);
}

void expectRefused(sparse_attn_status status, const std::string &message,
                   sparse_attn_status expected = SPARSE_ATTN_INVALID_ARGUMENT) {
  EXPECT_EQ(status, expected);
  EXPECT_EQ(sparse_attn_last_error(), message);
}

//===----------------------------------------------------------------------===//
// Extending and rolling back
//===----------------------------------------------------------------------===//

TEST(States, areThoseThatARunMakes) {
  EncodingKernel kernel(kShape, false, /*withMean=*/true);
  States states = makeStates(kernel);
  ASSERT_EQ(extend(states, kernel, {70, 70}), SPARSE_ATTN_OK) << sparse_attn_last_error();
  Plan plan = makePlan(kernel.get(), kShape);
  // The encoder of a run, of which only keys are read.
  std::vector<sa_view> views;
  for (size_t i = 0; i < kernel.inputs().size(); ++i)
    EXPECT_EQ(sa_bind_tensor(plan->kernel, &plan->kernel->inputs[i], false,
                             &kernel.inputs()[i]->dl, kCPU, &kShape,
                             &views.emplace_back()),
              SPARSE_ATTN_OK);
  std::vector<double> centers;
  for (int64_t plane = 0; plane < 4; ++plane) {
    for (int d = 0; d < EncodingKernel::D; ++d)
      centers.push_back(kernel.mean->floats[plane % 2 * EncodingKernel::D + d]);
    centers.push_back(0);
  }
  std::vector<uint32_t> expected;
  for (int e = 0; e < EncodingKernel::Encodings; ++e) {
    const sa_encoding &code = kernel.encodings[e];
    sa_encoder encoder{
        &code,          views.data(), 0, SA_F32, 4, 2, states->encodings[e].directions,
        centers.data(), sa_project};
    int64_t heads = sa_encoding_heads(&code, 4, 2);
    for (int64_t plane = 0; plane < 2 * heads; ++plane) {
      std::vector<uint32_t> some = kernel.encodeAlone(
          encoder, plane / heads, plane % heads * 4 / heads, kShape.keys);
      expected.insert(expected.end(), some.begin(), some.end());
    }
  }
  EXPECT_EQ(words(states), expected);
}

TEST(States, keyByKeyIsAllAtOnceForAnyThreads) {
  EncodingKernel kernel(kShape, false, true);
  std::vector<uint32_t> expected = fresh(kernel, {70, 53});
  for (int threads : {1, 2, 7}) {
    States states = makeStates(kernel);
    for (int64_t n = 1; n <= 70; ++n)
      ASSERT_EQ(extend(states, kernel, {n, std::min<int64_t>(n, 53)}, threads),
                SPARSE_ATTN_OK);
    EXPECT_EQ(sparse_attn_states_length(states.get(), 0), 70);
    EXPECT_EQ(sparse_attn_states_length(states.get(), 1), 53);
    EXPECT_EQ(words(states), expected);
  }
}

TEST(States, rollbackAndExtendIsFresh) {
  EncodingKernel kernel(kShape, false, true);
  for (int64_t length : {0, 16, 35, 48, 69})
    for (int64_t next : {35, 48, 61, 70}) {
      if (next < length)
        continue;
      States states = makeStates(kernel);
      ASSERT_EQ(extend(states, kernel, {70, 40}), SPARSE_ATTN_OK);
      ASSERT_EQ(sparse_attn_states_rollback(states.get(), 0, length), SPARSE_ATTN_OK);
      EXPECT_EQ(sparse_attn_states_length(states.get(), 0), length);
      // What was rolled back is overwritten, as speculative decoding does.
      EncodingKernel other(kShape, false, true);
      for (size_t i = 0; i < other.k->floats.size(); ++i) {
        int64_t j = static_cast<int64_t>(i) / EncodingKernel::D % 70;
        other.k->floats[i] = kernel.k->floats[i] + (j < length ? 0.f : 0.5f);
        if (i >= other.k->floats.size() / 2)
          other.k->floats[i] = kernel.k->floats[i];
      }
      ASSERT_EQ(extend(states, other, {next, 40}), SPARSE_ATTN_OK);
      EXPECT_EQ(words(states), fresh(other, {next, 40})) << length << " " << next;
    }
}

TEST(States, rollbackTwiceWithinABlock) {
  EncodingKernel kernel(kShape, false, true);
  States states = makeStates(kernel);
  ASSERT_EQ(extend(states, kernel, {45, 45}), SPARSE_ATTN_OK);
  for (int64_t length : {44, 40, 40})
    ASSERT_EQ(sparse_attn_states_rollback(states.get(), 0, length), SPARSE_ATTN_OK);
  ASSERT_EQ(extend(states, kernel, {40, 45}), SPARSE_ATTN_OK);
  EXPECT_EQ(words(states), fresh(kernel, {40, 45}));
}

TEST(States, readKeysOfACacheOfAnyLength) {
  EncodingKernel kernel(kShape, false, true);
  States states = makeStates(kernel);
  // Only the first 20 keys are there; K has room for more than the states.
  EncodingKernel other({2, 4, 2, 1, 90}, false, true);
  for (int64_t plane = 0; plane < 4; ++plane)
    std::copy_n(&kernel.k->floats[plane * 70 * EncodingKernel::D], 70 * EncodingKernel::D,
                &other.k->floats[plane * 90 * EncodingKernel::D]);
  other.keyWeights->floats = kernel.keyWeights->floats;
  // Neither queries nor values are read.
  other.q = nullptr;
  other.v = nullptr;
  ASSERT_EQ(extend(states, other, {20, 20}), SPARSE_ATTN_OK) << sparse_attn_last_error();
  EXPECT_EQ(words(states), fresh(kernel, {20, 20}));
}

TEST(States, sizes) {
  EncodingKernel kernel(kShape, false, true);
  States states = makeStates(kernel);
  // Two bounds of D f32 for 16 keys, 4 bytes for each query head, tables and a norm.
  constexpr int kD = EncodingKernel::D;
  double pages = 2. * 2 * kD * 4 / 16, hash = 4. * 4;
  double lsh = 2. * (EncodingKernel::Tables * 2 + 4);
  EXPECT_DOUBLE_EQ(sparse_attn_states_bytes_per_key(states.get()), pages + hash + lsh);
  // Whole groups of 16 units: 16 pages, 80 keys.
  size_t planes = 2 * (2 * 2 * kD * 4 * 16 + (16 + lsh) * 80);
  EXPECT_GE(sparse_attn_states_bytes(states.get()), planes);
  EXPECT_LE(sparse_attn_states_bytes(states.get()), planes + 8192);
  EXPECT_EQ(sparse_attn_states_bytes(nullptr), 0u);
  EXPECT_EQ(sparse_attn_states_length(states.get(), 2), 0);
  EXPECT_EQ(sparse_attn_states_length(nullptr, 0), 0);
}

//===----------------------------------------------------------------------===//
// Runs
//===----------------------------------------------------------------------===//

TEST(States, aRunReadsThem) {
  EncodingKernel kernel(kShape, /*withLengths=*/true, true);
  auto lengths = Tensor::of({2}, std::vector<int32_t>{70, 33});
  Plan plan = makePlan(kernel.get(), kShape, {lengths.get()});
  States states = makeStates(kernel);
  sparse_attn_options options{};
  size_t without, with;
  ASSERT_EQ(sparse_attn_workspace_size(plan.get(), &options, &without), SPARSE_ATTN_OK);
  options.states = states.get();
  ASSERT_EQ(sparse_attn_workspace_size(plan.get(), &options, &with), SPARSE_ATTN_OK);
  EXPECT_LT(with, without - 5000);

  expectRefused(kernel.run(plan.get(), &options),
                "kernel 'mock': batch entry 0 has 70 keys, and its states have 0; bring "
                "them there with sparse_attn_states_extend");
  ASSERT_EQ(extend(states, kernel, {70, 34}), SPARSE_ATTN_OK);
  expectRefused(kernel.run(plan.get(), &options),
                "kernel 'mock': batch entry 1 has 33 keys, and its states have 34; bring "
                "them there with sparse_attn_states_extend");
  ASSERT_EQ(sparse_attn_states_rollback(states.get(), 1, 33), SPARSE_ATTN_OK);
  expectRefused(kernel.run(plan.get(), &options),
                "kernel 'mock': batch entry 1 has 33 keys, and its states have 33 of a "
                "block that was rolled back; bring them there with "
                "sparse_attn_states_extend");
  ASSERT_EQ(extend(states, kernel, {70, 33}), SPARSE_ATTN_OK);
  EXPECT_EQ(kernel.run(plan.get(), &options), SPARSE_ATTN_OK) << sparse_attn_last_error();

  sa_run_state state{};
  state.plan = plan.get();
  state.options = &options;
  EXPECT_EQ(sa_run_plane(&state, EncodingKernel::Hash, 0, 1, 3),
            states->encodings[EncodingKernel::Hash].planes[0] +
                7 * states->encodings[EncodingKernel::Hash].plane_bytes[0]);
  EXPECT_EQ(sa_run_plane(&state, EncodingKernel::Pages, 1, 1, 3),
            states->encodings[EncodingKernel::Pages].planes[1] +
                3 * states->encodings[EncodingKernel::Pages].plane_bytes[1]);
}

TEST(States, ofAnotherKernelOrShape) {
  EncodingKernel kernel(kShape, false, true), other(kShape, false, true);
  other.lshParameters[4] = 100; // another seed
  States states = makeStates(other);
  Plan plan = makePlan(kernel.get(), kShape);
  sparse_attn_options options{};
  options.states = states.get();
  expectRefused(kernel.run(plan.get(), &options),
                "kernel 'mock' has other scores or pools than kernel 'mock', of which "
                "the states are");
  states = makeStates(kernel, {2, 2, 2, 0, 70});
  options.states = states.get();
  expectRefused(kernel.run(plan.get(), &options),
                "kernel 'mock': the states are of B = 2, H = 2, Hkv = 2, and the plan of "
                "2, 4, 2");
}

/// Blocks of keys that are full have an index; what it finds is what all hashes say,
/// after any way to the same keys.
TEST(States, theIndexFindsWhatAllHashesSay) {
  constexpr int64_t kKeys = 3 * SA_INDEX_KEYS - 100;
  sparse_attn_shape shape = {2, 4, 2, 1, kKeys};
  EncodingKernel kernel(shape, /*withLengths=*/true, true);
  const sa_encoding &code = kernel.encodings[EncodingKernel::Lsh];
  States states = makeStates(kernel, shape);
  ASSERT_NE(states->encodings[EncodingKernel::Lsh].index, nullptr);
  auto check = [&](std::vector<int64_t> lengths) {
    ASSERT_EQ(extend(states, kernel, lengths, 3), SPARSE_ATTN_OK);
    auto keys = Tensor::of({2}, std::vector<int32_t>(lengths.begin(), lengths.end()));
    Plan plan = makePlan(kernel.get(), shape, {keys.get()});
    sparse_attn_options options{};
    options.states = states.get();
    sa_run_state state{};
    state.plan = plan.get();
    state.options = &options;
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t h : {1, 2})
        for (int64_t minMatches : {1, 2}) {
          int64_t n = lengths[b];
          const void *hashes = sa_run_plane(&state, EncodingKernel::Lsh, 0, b, h);
          const uint32_t query[EncodingKernel::Tables] = {3, 63, 0, 17};
          std::vector<uint64_t> expected((n + 63) / 64, ~uint64_t(0)), found = expected;
          sa_match_hashes(&code, query, hashes, minMatches, n, expected.data());
          sa_run_match_hashes(&state, EncodingKernel::Lsh, b, h, query, minMatches, n,
                              found.data());
          EXPECT_EQ(found, expected) << b << " " << h << " " << minMatches;
        }
  };
  check({SA_INDEX_KEYS - 1, SA_INDEX_KEYS});
  check({SA_INDEX_KEYS + 1, 2 * SA_INDEX_KEYS + 5});
  // Other keys in the place of those that are taken back.
  ASSERT_EQ(sparse_attn_states_rollback(states.get(), 1, SA_INDEX_KEYS + 7),
            SPARSE_ATTN_OK);
  std::reverse(kernel.k->floats.begin(), kernel.k->floats.end());
  check({kKeys, 2 * SA_INDEX_KEYS + 5});
  std::string path = testing::TempDir() + "/sparse-attn-index";
  ASSERT_EQ(sparse_attn_states_save(states.get(), path.c_str()), SPARSE_ATTN_OK);
  sparse_attn_states *loaded = nullptr;
  ASSERT_EQ(sparse_attn_states_load(kernel.get(), path.c_str(), &loaded), SPARSE_ATTN_OK);
  states.reset(loaded);
  std::remove(path.c_str());
  check({kKeys, kKeys});
}

//===----------------------------------------------------------------------===//
// What is refused
//===----------------------------------------------------------------------===//

TEST(States, creationErrors) {
  EncodingKernel kernel(kShape, false, true);
  sparse_attn_states *states = nullptr;
  expectRefused(sparse_attn_states_create(kernel.get(), &kShape, nullptr),
                "states is null");
  expectRefused(sparse_attn_states_create(nullptr, &kShape, &states), "kernel is null");
  expectRefused(sparse_attn_states_create(kernel.get(), nullptr, &states),
                "shape is null");
  sparse_attn_shape shape = {2, 3, 2, 0, 10};
  expectRefused(sparse_attn_states_create(kernel.get(), &shape, &states),
                "kernel 'mock': H = 3 is not a multiple of Hkv = 2");
  const char *dependent = "kernel 'mock': its hashes depend on the mean or the largest "
                          "norm of all keys, which "
                          "change with every key; compile sample.lsh with a `mean` "
                          "operand (or center = none) "
                          "and normalize = cosine, or run without states";
  kernel.lshParameters[3] = 1; // simple_lsh
  expectRefused(sparse_attn_states_create(kernel.get(), &kShape, &states), dependent);
  kernel.lshParameters[3] = 0;
  kernel.lshInputs[0] = -1; // no mean
  expectRefused(sparse_attn_states_create(kernel.get(), &kShape, &states), dependent);
  kernel.lshParameters[2] = 2; // center = none
  EXPECT_EQ(sparse_attn_states_create(kernel.get(), &kShape, &states), SPARSE_ATTN_OK);
  sparse_attn_states_destroy(states);
  kernel.get();
  kernel.kernel.kernel.encoding_count = 0;
  expectRefused(sparse_attn_states_create(&kernel.kernel.kernel, &kShape, &states),
                "kernel 'mock' keeps nothing beside K; run it without states");
  kernel.get();
  kernel.encodings[0].k = 7; // a step's result
  expectRefused(sparse_attn_states_create(&kernel.kernel.kernel, &kShape, &states),
                "kernel 'mock': scores of pooled keys cannot be kept, since the last one "
                "changes with every token; run without states");
  EXPECT_EQ(states, nullptr);
  sparse_attn_states_destroy(nullptr);
}

TEST(States, extensionErrorsChangeNothing) {
  EncodingKernel kernel(kShape, false, true);
  States states = makeStates(kernel);
  ASSERT_EQ(extend(states, kernel, {30, 20}), SPARSE_ATTN_OK);
  expectRefused(extend(states, kernel, {31, 19}),
                "kernel 'mock': batch entry 1 has the states of 20 keys, and is to have "
                "19; go back with sparse_attn_states_rollback");
  expectRefused(extend(states, kernel, {31, 71}),
                "kernel 'mock': batch entry 1 is to have the states of 71 keys, but was "
                "created for at most 70");
  EncodingKernel shorter({2, 4, 2, 1, 25}, false, true);
  expectRefused(extend(states, shorter, {30, 26}),
                "kernel 'mock': 'k' has 25 keys, but states are to be made of 30");
  EncodingKernel wrong(kShape, false, true);
  wrong.keyWeights = Tensor::random({4, 99}, 5);
  expectRefused(extend(states, wrong, {31, 20}),
                "kernel 'mock': 'key_weights' has size 99 on axis 1, expected 192, the "
                "weights and offsets of all layers");
  wrong.keyWeights = nullptr;
  expectRefused(extend(states, wrong, {31, 20}), "kernel 'mock': 'key_weights' is null");
  expectRefused(sparse_attn_states_extend(states.get(), nullptr, 2, nullptr, nullptr),
                "lengths is null");
  int64_t lengths[] = {30, 20};
  expectRefused(sparse_attn_states_extend(nullptr, nullptr, 2, lengths, nullptr),
                "states is null");
  expectRefused(sparse_attn_states_extend(states.get(), nullptr, 2, lengths, nullptr),
                "kernel 'mock' takes 6 inputs (q, k, v, query_weights, key_weights, "
                "mean), got 2");
  EXPECT_EQ(words(states), fresh(kernel, {30, 20}));
}

TEST(States, rollbackErrors) {
  EncodingKernel kernel(kShape, false, true);
  States states = makeStates(kernel);
  ASSERT_EQ(extend(states, kernel, {30, 20}), SPARSE_ATTN_OK);
  expectRefused(sparse_attn_states_rollback(nullptr, 0, 0), "states is null");
  expectRefused(sparse_attn_states_rollback(states.get(), 2, 0),
                "kernel 'mock': b is 2, expected 0 to 1");
  for (int64_t length : {-1, 21})
    expectRefused(sparse_attn_states_rollback(states.get(), 1, length),
                  "kernel 'mock': batch entry 1 has the states of 20 keys, and cannot go "
                  "back to " +
                      std::to_string(length));
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

std::string pathOf(const char *name) {
  return testing::TempDir() + "/sparse-attn-" + name + std::to_string(getpid());
}

std::string readFile(const std::string &path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void writeFile(const std::string &path, const std::string &bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

struct SavedStates {
  SavedStates() : kernel(kShape, false, true), path(pathOf("states")) {
    States states = makeStates(kernel);
    EXPECT_EQ(extend(states, kernel, {50, 20}), SPARSE_ATTN_OK);
    EXPECT_EQ(sparse_attn_states_rollback(states.get(), 0, 45), SPARSE_ATTN_OK);
    EXPECT_EQ(sparse_attn_states_save(states.get(), path.c_str()), SPARSE_ATTN_OK)
        << sparse_attn_last_error();
    bytes = readFile(path);
  }
  ~SavedStates() { std::remove(path.c_str()); }
  States load(sparse_attn_status expected = SPARSE_ATTN_OK) {
    sparse_attn_states *states = nullptr;
    EXPECT_EQ(sparse_attn_states_load(kernel.get(), path.c_str(), &states), expected)
        << sparse_attn_last_error();
    EXPECT_EQ(states != nullptr, expected == SPARSE_ATTN_OK);
    return States(states);
  }
  void expectLoadFails(const std::string &file, const std::string &message) {
    writeFile(path, file);
    load(SPARSE_ATTN_LOAD_FAILED);
    EXPECT_EQ(sparse_attn_last_error(), "'" + path + "' " + message);
  }
  EncodingKernel kernel;
  std::string path, bytes;
};

TEST(StatesFile, whatWasSavedGoesOn) {
  SavedStates saved;
  States states = saved.load();
  EXPECT_EQ(sparse_attn_states_length(states.get(), 0), 45);
  EXPECT_EQ(sparse_attn_states_length(states.get(), 1), 20);
  // The block that was rolled back has other keys now.
  for (float &x : saved.kernel.k->floats) {
    int64_t i = &x - saved.kernel.k->floats.data();
    if (i < 2 * 70 * EncodingKernel::D && i / EncodingKernel::D % 70 >= 45)
      x /= 2;
  }
  ASSERT_EQ(extend(states, saved.kernel, {46, 70}), SPARSE_ATTN_OK);
  EXPECT_EQ(words(states), fresh(saved.kernel, {46, 70}));
}

TEST(StatesFile, onlyKeysThatAreThereAreSaved) {
  EncodingKernel kernel({2, 4, 2, 1, 70000}, false, true);
  States states = makeStates(kernel, kernel.shape);
  std::string path = pathOf("few");
  ASSERT_EQ(extend(states, kernel, {5, 0}), SPARSE_ATTN_OK);
  ASSERT_EQ(sparse_attn_states_save(states.get(), path.c_str()), SPARSE_ATTN_OK);
  EXPECT_LT(readFile(path).size(), 10000u);
  std::remove(path.c_str());
}

TEST(StatesFile, truncatedFiles) {
  SavedStates saved;
  for (size_t size :
       {size_t(0), size_t(7), size_t(8), size_t(50), size_t(60), size_t(100), size_t(200),
        saved.bytes.size() / 2, saved.bytes.size() - 9, saved.bytes.size() - 1})
    saved.expectLoadFails(saved.bytes.substr(0, size),
                          size < 8 ? "holds no states" : "is truncated");
}

TEST(StatesFile, everySpoiltByteIsSeen) {
  SavedStates saved;
  for (size_t at = 0; at < saved.bytes.size(); at += at < 200 ? 1 : 37) {
    std::string spoilt = saved.bytes;
    spoilt[at] = static_cast<char>(spoilt[at] ^ 0x10);
    writeFile(saved.path, spoilt);
    saved.load(SPARSE_ATTN_LOAD_FAILED);
  }
  std::string spoilt = saved.bytes;
  spoilt[spoilt.size() - 100] ^= 1;
  saved.expectLoadFails(spoilt, "is corrupt: its checksum is wrong");
  spoilt = saved.bytes;
  spoilt[24] ^= 1; // B
  saved.expectLoadFails(spoilt, "is corrupt: its checksum is wrong");
  // A capacity below the lengths, and a checksum that says it was meant.
  spoilt = saved.bytes;
  spoilt[48] = 10;
  uint64_t sum = 0, word;
  for (size_t at = 0; at < 88; at += 8) {
    std::memcpy(&word, &spoilt[at], 8);
    sum = sa_add_word(sum, word);
  }
  std::memcpy(&spoilt[88], &sum, 8);
  saved.expectLoadFails(spoilt, "is corrupt: it has more keys than room");
  saved.expectLoadFails(saved.bytes + "12345678",
                        "is corrupt: something follows the states");
}

TEST(StatesFile, otherFilesAndVersions) {
  SavedStates saved;
  saved.expectLoadFails(std::string(500, 'x'), "holds no states");
  std::string file = saved.bytes;
  std::reverse(file.begin(), file.begin() + 8);
  saved.expectLoadFails(file, "holds states of a machine of the other byte order");
  file = saved.bytes;
  file[8] = 7;
  saved.expectLoadFails(file, "has version 7 of the format, expected 1; make it anew");
  saved.kernel.pageStates[0].block = saved.kernel.pageStates[1].block = 32;
  saved.expectLoadFails(saved.bytes,
                        "holds states of other scores or pools than those of kernel "
                        "'mock'");
}

TEST(StatesFile, pathsThatFail) {
  SavedStates saved;
  States states = saved.load();
  sparse_attn_states *loaded = nullptr;
  expectRefused(sparse_attn_states_save(states.get(), "/nowhere/states"),
                "'/nowhere/states' cannot be written: No such file or directory",
                SPARSE_ATTN_SAVE_FAILED);
  expectRefused(sparse_attn_states_load(saved.kernel.get(), "/nowhere/states", &loaded),
                "'/nowhere/states' cannot be read: No such file or directory",
                SPARSE_ATTN_LOAD_FAILED);
  expectRefused(sparse_attn_states_save(states.get(), "/dev/full"),
                "'/dev/full' cannot be written: No space left on device",
                SPARSE_ATTN_SAVE_FAILED);
  expectRefused(sparse_attn_states_save(nullptr, "x"), "states is null");
  expectRefused(sparse_attn_states_save(states.get(), nullptr), "path is null");
  expectRefused(sparse_attn_states_load(nullptr, "x", &loaded), "kernel is null");
  expectRefused(sparse_attn_states_load(saved.kernel.get(), nullptr, &loaded),
                "path is null");
  expectRefused(sparse_attn_states_load(saved.kernel.get(), "x", nullptr),
                "states is null");
}

} // namespace
