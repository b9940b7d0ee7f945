//===- sparse-attn-bench.cpp - times kernels against the machine ----------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   sparse-attn-bench --case=NAME,LIBRARY,B,H,Hkv,M,N,THREADS ... [--benchmark_...]
//
// Each case is one Google Benchmark on random inputs. Its counters:
//   flops     2 (D + Dv) for each pair of a visited tile, a second
//   read      bytes of the keys and values that the query keeps, a second; with one
//             query alone
//   of_read, of_bf16_dot or of_fma
//             that over the ceiling that bounds the case, measured for the same threads
//             right before and after: of both the higher one, since what disturbs the
//             machine lowers them
//   ceiling   that ceiling
//   tiles     visited tiles, share_of_tiles their share of all
//   plan_s, plan_bytes, workspace_bytes
// and its label the instruction level. With few queries several copies of K and V take
// turns, so that they come from memory, as they do when other layers run in between.
// benchmark/run.py compiles the libraries and prints the table.
//
//===----------------------------------------------------------------------===//

#include "Ceilings.h"
#include "sparse_attn/runtime.h"
#include <algorithm>
#include <benchmark/benchmark.h>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <immintrin.h>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

using namespace sparse_attn_bench;

namespace {
struct Case {
  std::string name, library;
  sparse_attn_shape shape;
  int threads;
};

[[noreturn]] void fail(const std::string &what) {
  std::fprintf(stderr, "sparse-attn-bench: %s\n", what.c_str());
  std::exit(1);
}

void check(sparse_attn_status status) {
  if (status != SPARSE_ATTN_OK)
    fail(sparse_attn_last_error());
}

Case parseCase(const std::string &text) {
  std::vector<std::string> fields;
  std::stringstream stream(text);
  for (std::string field; std::getline(stream, field, ',');)
    fields.push_back(field);
  if (fields.size() != 8)
    fail("--case wants NAME,LIBRARY,B,H,Hkv,M,N,THREADS, got '" + text + "'");
  auto number = [&](int i) { return std::stoll(fields[i]); };
  return {fields[0],
          fields[1],
          {number(2), number(3), number(4), number(5), number(6)},
          static_cast<int>(number(7))};
}

__attribute__((target("f16c"))) uint16_t toHalf(float x) {
  return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT);
}

uint16_t toBfloat(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

/// A dense tensor of f32, bf16 or f16 that owns its data.
struct Tensor {
  Tensor(DLDataType type, std::vector<int64_t> sizes) : shape(std::move(sizes)) {
    bool known = (type.code == kDLFloat && (type.bits == 32 || type.bits == 16)) ||
                 (type.code == kDLBfloat && type.bits == 16);
    if (!known)
      fail("draws f32, bf16 and f16 alone");
    count = 1;
    for (int64_t size : shape)
      count *= size;
    // Aligned to cache lines, as the tensors of frameworks are.
    bytes = count * type.bits / 8;
    memory.resize(bytes + 63);
    char *start = memory.data() + (-reinterpret_cast<uintptr_t>(memory.data()) & 63);
    view = {start, {kDLCPU, 0},  static_cast<int>(shape.size()),
            type,  shape.data(), nullptr,
            0};
  }

  /// Uniform of variance 1 / 3: cheap to draw for a million tokens.
  void draw(std::mt19937 &random) {
    std::uniform_real_distribution<float> uniform(-1, 1);
    if (view.dtype.bits == 32)
      std::generate_n(as<float>(), count, [&] { return uniform(random); });
    else
      std::generate_n(as<uint16_t>(), count, [&] {
        float x = uniform(random);
        return view.dtype.code == kDLBfloat ? toBfloat(x) : toHalf(x);
      });
  }

  template <typename T> T *as() { return static_cast<T *>(view.data); }
  size_t rowBytes() const { return shape.back() * view.dtype.bits / 8; }

  std::vector<int64_t> shape;
  size_t count, bytes;
  std::vector<char> memory; // zero at first
  DLTensor view;
};

/// The ceiling that bounds a case, and how much of it one run takes.
struct Bound {
  const char *counter;
  double (*measure)(int threads, double seconds);
  double amount;
};

/// What a case keeps between its iterations.
class Problem {
public:
  explicit Problem(const Case &c) {
    options.threads = c.threads;
    check(sparse_attn_library_open(c.library.c_str(), &library));
    kernel = sparse_attn_kernel_at(library, 0);
    auto start = std::chrono::steady_clock::now();
    check(sparse_attn_plan_create(kernel, &c.shape, nullptr, 0, &options, &plan));
    planSeconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    size_t bytes;
    check(sparse_attn_workspace_size(plan, &options, &bytes));
    workspace.resize(bytes);
    const sparse_attn_shape &s = c.shape;
    q = add(sparse_attn_kernel_input_info, 0, {s.batch, s.heads, s.queries});
    const std::vector<int64_t> keys = {s.batch, s.kv_heads, s.keys};
    for (int64_t copy = 0, copies = 1; copy < copies; ++copy) {
      k.push_back(add(sparse_attn_kernel_input_info, 1, keys));
      v.push_back(add(sparse_attn_kernel_input_info, 2, keys));
      int64_t read = k[0]->bytes + v[0]->bytes;
      if (s.queries <= 64 && read)
        copies = std::min<int64_t>(16, (getBytesBeyondCaches() + read - 1) / read);
    }
    out = add(sparse_attn_kernel_output_info, 0, {s.batch, s.heads, s.queries});
    lse = add(sparse_attn_kernel_output_info, 1, {s.batch, s.heads, s.queries});
    countTiles();
    if (s.queries == 1)
      countBytes(s);
    std::mt19937 random(1);
    q->draw(random);
    for (size_t i = 0; i < k.size(); ++i) {
      k[i]->draw(random);
      v[i]->draw(random);
    }
  }
  ~Problem() {
    sparse_attn_plan_destroy(plan);
    sparse_attn_library_close(library);
  }

  void run() {
    turn = (turn + 1) % k.size();
    const DLTensor *inputs[] = {&q->view, &k[turn]->view, &v[turn]->view};
    DLTensor *outputs[] = {&out->view, &lse->view};
    check(sparse_attn_run(plan, inputs, 3, outputs, 2, workspace.data(), workspace.size(),
                          &options));
  }

  const char *level() const { return sparse_attn_kernel_level(kernel); }

  double flops() const { return 2.0 * pairs * (q->shape.back() + out->shape.back()); }

  Bound bound() const {
    if (readBytes)
      return {"of_read", measureRead, readBytes};
    if (q->view.dtype.code == kDLBfloat && hasBf16Dot())
      return {"of_bf16_dot", measureBf16Dot, flops()};
    return {"of_fma", measureFma, flops()};
  }

  double planSeconds, pairs = 0, tiles = 0, allTiles = 0, readBytes = 0;
  sparse_attn_plan *plan = nullptr;
  std::vector<char> workspace;

private:
  using Info = sparse_attn_status (*)(const sparse_attn_kernel *, size_t,
                                      sparse_attn_tensor_info *);

  /// A tensor of the kernel; its size on the fourth axis is the kernel's.
  Tensor *add(Info getInfo, size_t index, std::vector<int64_t> sizes) {
    sparse_attn_tensor_info info;
    check(getInfo(kernel, index, &info));
    if (info.rank == 4)
      sizes.push_back(info.dims[3]);
    tensors.push_back(std::make_unique<Tensor>(info.dtype, std::move(sizes)));
    return tensors.back().get();
  }

  /// Where Q is 0, LSE is the logarithm of the number of keys that the query keeps;
  /// a group reads those of its widest head.
  void countBytes(const sparse_attn_shape &s) {
    run();
    int64_t group = s.heads / s.kv_heads;
    double keys = 0;
    for (int64_t first = 0; first < s.batch * s.heads; first += group) {
      const float *states = lse->as<float>() + first;
      keys += std::round(std::exp(*std::max_element(states, states + group)));
    }
    readBytes = keys * (k[0]->rowBytes() + v[0]->rowBytes());
  }

  /// Those of every attention that runs; a share is one of the first's.
  void countTiles() {
    for (size_t index = sparse_attn_plan_attention_count(plan); index-- > 0;)
      countTiles(index);
  }

  void countTiles(size_t index) {
    sparse_attn_grid grid;
    check(sparse_attn_plan_grid(plan, index, &grid));
    for (int64_t b = 0; b < grid.batch; ++b)
      for (int64_t h = 0; h < grid.heads; ++h)
        for (int64_t t = 0; t < grid.row_tiles; ++t) {
          int64_t visited = 0;
          check(sparse_attn_plan_visit(
              plan, index, b, h, t,
              [](void *context, int64_t, int64_t count, sparse_attn_tile_class) {
                *static_cast<int64_t *>(context) += count;
              },
              &visited));
          tiles += visited;
          pairs += double(visited) * grid.tile_keys * countRows(grid, t);
        }
    allTiles = double(grid.batch) * grid.heads * grid.row_tiles * grid.key_tiles;
  }

  /// Rows of query tile `tile`.
  static int64_t countRows(const sparse_attn_grid &grid, int64_t tile) {
    int64_t residue = tile / grid.class_row_tiles;
    int64_t rows = (grid.queries - residue + grid.step - 1) / grid.step;
    return std::min(grid.tile_rows, rows - tile % grid.class_row_tiles * grid.tile_rows);
  }

  sparse_attn_options options = {};
  const sparse_attn_library *library = nullptr;
  const sparse_attn_kernel *kernel = nullptr;
  std::vector<std::unique_ptr<Tensor>> tensors;
  Tensor *q, *out, *lse;
  std::vector<Tensor *> k, v;
  size_t turn = 0;
};
} // namespace

static void runCase(benchmark::State &state, const Case &c) {
  constexpr double kSeconds = 0.2;
  Problem problem(c);
  Bound bound = problem.bound();
  problem.run(); // pages in memory
  state.SetLabel(problem.level());
  double ceiling = bound.measure(c.threads, kSeconds);
  for (auto _ : state)
    problem.run();
  ceiling = std::max(ceiling, bound.measure(c.threads, kSeconds));
  using benchmark::Counter;
  state.counters["flops"] = Counter(problem.flops(), Counter::kIsIterationInvariantRate);
  if (problem.readBytes)
    state.counters["read"] =
        Counter(problem.readBytes, Counter::kIsIterationInvariantRate);
  state.counters[bound.counter] =
      Counter(bound.amount / ceiling, Counter::kIsIterationInvariantRate);
  state.counters["ceiling"] = ceiling;
  state.counters["tiles"] = problem.tiles;
  state.counters["share_of_tiles"] = problem.tiles / problem.allTiles;
  state.counters["plan_s"] = problem.planSeconds;
  state.counters["plan_bytes"] = sparse_attn_plan_bytes(problem.plan);
  state.counters["workspace_bytes"] = problem.workspace.size();
}

int main(int argc, char **argv) {
  std::vector<char *> rest;
  std::vector<Case> cases;
  for (int i = 0; i < argc; ++i) {
    std::string argument = argv[i];
    if (argument.rfind("--case=", 0) == 0)
      cases.push_back(parseCase(argument.substr(7)));
    else
      rest.push_back(argv[i]);
  }
  if (cases.empty())
    fail("give at least one --case=NAME,LIBRARY,B,H,Hkv,M,N,THREADS");
  for (const Case &c : cases)
    benchmark::RegisterBenchmark(c.name.c_str(),
                                 [c](benchmark::State &state) { runCase(state, c); })
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
  int count = rest.size();
  benchmark::Initialize(&count, rest.data());
  if (benchmark::ReportUnrecognizedArguments(count, rest.data()))
    return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
