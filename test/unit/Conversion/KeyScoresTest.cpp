//===- KeyScoresTest.cpp - scores of listed keys, and projections ---------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The sa_key_scores_fn and the sa_project_fn of every level of this machine against
// plain loops.
//
//===----------------------------------------------------------------------===//

#include "GeneratedCode.h"
#include "llvm/ADT/bit.h"
#include "gtest/gtest.h"
#include <cmath>
#include <cstring>
#include <limits>

using namespace sparse_attn;

namespace {

constexpr double kScale = 0.25;
constexpr int64_t kSlope = 2, kExcluded = 7; // of a modifier

/// One attention of tiles of 64 keys. `modify`: s - (p - j) / 2 + h, and -inf for every
/// seventh key.
std::string makePlans(int64_t dim, const std::string &element, bool modify) {
  std::string type = "tensor<?x?x?x" + std::to_string(dim) + "x" + element + ">";
  std::string region = !modify ? "" : R"(
    ^bb0(%s: f32, %hops: f32, %b: i32, %h: i32, %i: i32, %p: i32, %j: i32):
      %slope = arith.constant 2.0 : f32
      %seven = arith.constant 7 : i32
      %zero = arith.constant 0 : i32
      %none = arith.constant 0xFF800000 : f32
      %distance = arith.subi %p, %j : i32
      %real = arith.sitofp %distance : i32 to f32
      %penalty = arith.divf %real, %slope : f32
      %less = arith.subf %s, %penalty : f32
      %head = arith.sitofp %h : i32 to f32
      %sum = arith.addf %less, %head : f32
      %rest = arith.remsi %j, %seven : i32
      %excluded = arith.cmpi eq, %rest, %zero : i32
      %result = arith.select %excluded, %none, %sum : f32
      block_plan.yield %result : f32
)";
  return "func.func @kernel(%q: " + type + ", %k: " + type + ", %v: " + type + R"() {
  %o, %l = block_plan.attention %q, %k, %v {binding = #block_plan<binding plan>,
       scale = 0.25 : f64, tile = array<i64: 1, 64>, key_block = 0 : i64, checks = [],
       tables = [], key_scores, project} : )" +
         type + ", " + type + ", " + type + " -> " + type +
         R"(, tensor<?x?x?xf32> classify {
    ^bb0(%b: i32, %h: i32, %p0: i32, %p1: i32, %j0: i32, %j1: i32, %step: i32):
      %t = arith.constant true
      block_plan.yield %t, %t : i1, i1
  } predicate {
  } modify {)" +
         region +
         R"(  }
  return
})";
}

/// Multiples of 1/8 in [-1, 1], which every type has.
float makeShort(Numbers &numbers) { return std::nearbyint(numbers.real() * 8) / 8; }

/// A tensor [2][heads][rows][dim] of f32 or bf16.
struct Tensor {
  Tensor(int64_t heads, int64_t rows, int64_t dim, bool isBfloat, Numbers &numbers)
      : heads(heads), rows(rows), dim(dim) {
    for (int64_t i = 0; i < 2 * heads * rows * dim; ++i) {
      reals.push_back(makeShort(numbers));
      shorts.push_back(llvm::bit_cast<uint32_t>(reals.back()) >> 16);
    }
    void *data = isBfloat ? static_cast<void *>(shorts.data()) : reals.data();
    view = {
        data, data, 0, {2, heads, rows, dim}, {heads * rows * dim, rows * dim, dim, 1}};
  }
  const float *row(int64_t b, int64_t h, int64_t i) const {
    return &reals[((b * heads + h) * rows + i) * dim];
  }
  int64_t heads, rows, dim;
  std::vector<float> reals;
  std::vector<uint16_t> shorts;
  sa_view view;
};

TEST(KeyScores, areTheAttentionsOwn) {
  constexpr int64_t kHeads = 4, kKvHeads = 2, kRows = 5, kKeys = 500;
  constexpr int64_t kBatch = 1, kHead = 3, kKvHead = 1, kRow = 4;
  for (const CPULevel *level : getLevelsHere())
    for (bool isBfloat : {false, true})
      for (bool modify : {false, true})
        for (int64_t dim : {8, 72}) {
          SCOPED_TRACE(level->name.str() + (isBfloat ? ", bf16, " : ", f32, ") +
                       (modify ? "modified, " : "plain, ") + std::to_string(dim));
          GeneratedCode code(makePlans(dim, isBfloat ? "bf16" : "f32", modify), *level);
          auto *function = code.get<sa_key_scores_fn>("key_scores");
          Numbers numbers(3);
          Tensor q(kHeads, kRows, dim, isBfloat, numbers);
          Tensor k(kKvHeads, kKeys, dim, isBfloat, numbers);
          sa_view values[] = {q.view, k.view, k.view};
          GuardedMemory scratch(code.scratchBytes);
          for (int64_t count : {0, 1, 15, 16, 17, 64, 200}) {
            std::vector<int32_t> list;
            for (int64_t i = 0; i < count + SA_LIST_MARGIN; ++i)
              list.push_back(numbers.bits() % kKeys);
            GuardedMemory scores(count * sizeof(float), sizeof(float));
            sa_attend_args args = {};
            args.values = values;
            args.scratch = scratch.as<void>();
            args.b = kBatch, args.h = kHead, args.kv_head = kKvHead, args.stack = 1;
            args.first_row = kRow, args.rows = 1, args.first_position = kRow + 400;
            args.step = 1, args.class_tiles = 1, args.keys = count;
            args.tokens = kKeys, args.heads = kHeads, args.list = list.data();
            function(&args, scores.as<float>());
            for (int64_t i = 0; i < count; ++i) {
              double sum = 0;
              for (int64_t d = 0; d < dim; ++d)
                sum += static_cast<double>(q.row(kBatch, kHead, kRow)[d]) *
                       k.row(kBatch, kKvHead, list[i])[d];
              double wanted = sum * kScale;
              if (modify)
                wanted +=
                    static_cast<double>(list[i] - args.first_position) / kSlope + kHead;
              if (modify && list[i] % kExcluded == 0)
                ASSERT_EQ(scores.as<float>()[i], -std::numeric_limits<float>::infinity());
              else
                ASSERT_NEAR(scores.as<float>()[i], wanted, 1e-4) << i << " of " << count;
            }
          }
        }
}

TEST(Project, isTheProduct) {
  for (const CPULevel *level : getLevelsHere()) {
    SCOPED_TRACE(level->name.str());
    GeneratedCode code(makePlans(8, "f32", false), *level);
    auto *project = code.get<sa_project_fn>("project");
    Numbers numbers(4);
    for (int64_t ins : {0, 1, 7, 8, 13, 128})
      for (int64_t outs : {1, 3, 8, 10, 16, 31, 64, 128, 200, 600}) {
        GuardedMemory x(ins * sizeof(float), 4), w(ins * outs * sizeof(float), 4),
            out(outs * sizeof(float), 4);
        for (int64_t i = 0; i < ins; ++i)
          x.as<float>()[i] = numbers.real();
        for (int64_t i = 0; i < ins * outs; ++i)
          w.as<float>()[i] = numbers.real();
        project(x.as<float>(), w.as<float>(), out.as<float>(), ins, outs);
        for (int64_t o = 0; o < outs; ++o) {
          double sum = 0, magnitude = 0;
          for (int64_t i = 0; i < ins; ++i) {
            double term =
                static_cast<double>(x.as<float>()[i]) * w.as<float>()[i * outs + o];
            sum += term;
            magnitude += std::abs(term);
          }
          ASSERT_NEAR(out.as<float>()[o], sum, 1e-6 * magnitude)
              << ins << " x " << outs << ", output " << o;
        }
      }
  }
}

} // namespace
