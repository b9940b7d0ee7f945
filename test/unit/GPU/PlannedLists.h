//===- PlannedLists.h - lists that a GPU makes beside the host's *- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM
// Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Two plans of one kernel, of the same operands: here, where the host lists the
// tiles, and in the device's memory, where kernels do, on the emulator. What
// the attention kernels are told must be the same, tile for tile, share for
// share, bit for bit.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_TEST_UNIT_GPU_PLANNEDLISTS_H
#define SPARSE_ATTN_TEST_UNIT_GPU_PLANNEDLISTS_H

#include "sparse_attn/Expression/Expression.h"
#include "sparse_attn/Session/EmulatedDriver.h"
#include "sparse_attn/Session/Session.h"
#include "llvm/ADT/SmallString.h"
#include <gtest/gtest.h>
#include <map>
#include <random>
#include <set>

namespace sparse_attn::planned {

/// A layout operand.
struct Operand {
  std::vector<int64_t> shape;
  std::vector<uint8_t> bytes;

  static Operand of(std::vector<int64_t> shape, llvm::ArrayRef<int32_t> values) {
    auto *data = reinterpret_cast<const uint8_t *>(values.data());
    return {std::move(shape), {data, data + 4 * values.size()}};
  }
};
using Operands = std::map<std::string, Operand>;

struct DestroyPlan {
  void operator()(sparse_attn_plan *plan) const { sparse_attn_plan_destroy(plan); }
};
using Plan = std::unique_ptr<sparse_attn_plan, DestroyPlan>;

/// A library of one kernel for sm_80 and sm_90a.
class Compiled {
public:
  explicit Compiled(const KernelSpec &spec);
  ~Compiled();

  /// Null where it does not compile, which fails the test.
  const sparse_attn_kernel *get() const { return kernel; }

private:
  llvm::SmallString<128> folder;
  std::optional<run::Library> library;
  const sparse_attn_kernel *kernel = nullptr;
};

/// Attentions of plans: those in steps and not, that run, and those that do not run.
struct Choices {
  int64_t stepping = 0, neighbours = 0, left = 0;
};

/// Plans on an emulated device.
class Planner {
public:
  Planner(const sparse_attn_kernel *kernel, int capability);
  ~Planner();

  /// Null where that fails.
  Plan make(const sparse_attn_shape &shape, const Operands &operands, bool onDevice);
  /// Fails the test where the two plans differ.
  void compare(const sparse_attn_shape &shape, const Operands &operands);
  /// The same where runs list the keys, and plans no tiles: operands stay there, and
  /// a look into the two plans tells the same.
  void compareLooks(const sparse_attn_shape &shape, const Operands &operands);
  /// Fails the test where the two do not fail with the same words, which hold
  /// `reason`.
  void compareErrors(const sparse_attn_shape &shape, const Operands &operands,
                     llvm::StringRef reason);

  /// Elements between rows of operands on the device, and after each outer
  /// axis.
  int64_t gap = 0;
  /// Operands that are here even where the others are on the device.
  std::set<std::string> here;
  /// All tiles, full ones and shares of the last plans that were compared.
  int64_t tiles = 0, full = 0, shares = 0;
  Choices choices;

private:
  void *upload(llvm::ArrayRef<uint8_t> bytes);

  const sparse_attn_kernel *kernel;
  run::EmulatedDriver driver;
  sparse_attn_options options{};
  std::vector<void *> allocated;
};

/// Whether the plan's tiles were listed on the device.
bool listsOnDevice(const sparse_attn_plan &plan);

inline constexpr std::pair<int64_t, int64_t> kSizes[] = {
    {300, 300}, {130, 555}, {1, 700}, {200, 90}};

/// What patterns are checked with.
struct Variant {
  ElementType type = ElementType::BF16;
  bool lengths = true;
  bool offsets = false; ///< q_offset: positions below 0, and past the last key
  int64_t gap = 0;      ///< Planner::gap
  llvm::ArrayRef<std::pair<int64_t, int64_t>> sizes = kSizes; ///< queries and keys
};

/// Plans of several shapes and random operands for each target. Patterns may
/// name `offsets`, `index`, the block mask `indptr`, `indices` and `bits`, and
/// the graph `chunks`, `chunk_node`, `edges` and `neighbours`.
Choices checkPattern(const char *pattern, const Variant &variant = {});

using Random = std::mt19937;
/// From 0 on, below `limit`.
int32_t draw(Random &random, int32_t limit);
/// Random operands of B = 2.
Operands drawOperands(Random &random, int64_t queries, int64_t keys);

} // namespace sparse_attn::planned

#endif // SPARSE_ATTN_TEST_UNIT_GPU_PLANNEDLISTS_H
