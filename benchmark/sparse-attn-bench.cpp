//===- sparse-attn-bench.cpp - times kernels against the machine ----------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   sparse-attn-bench --case=NAME,LIBRARY,B,H,Hkv,M,N,THREADS ... [--benchmark_...]
//   sparse-attn-bench --ceilings=THREADS
//
// The second form prints what the machine can do at most, as JSON.
//
// Each case is one Google Benchmark on random inputs. Its counters:
//   flops     2 (D + Dv) for each pair of a visited tile, a second
//   of_fma    flops over the FMA ceiling of the same threads, measured just before
//   tiles     visited tiles, of_tiles their share of all
//   plan_s, plan_bytes, workspace_bytes
// benchmark/run.py compiles the libraries and prints the table.
//
//===----------------------------------------------------------------------===//

#include "Ceilings.h"
#include "sparse_attn/runtime.h"
#include <benchmark/benchmark.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>
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

/// A dense f32 tensor that owns its data.
struct Tensor {
  Tensor(std::vector<int64_t> sizes, std::mt19937 &random) : shape(std::move(sizes)) {
    size_t count = 1;
    for (int64_t size : shape)
      count *= size;
    data.resize(count);
    // Uniform of variance 1 / 3: cheap to draw for a million tokens.
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (float &x : data)
      x = uniform(random);
    view = {data.data(),
            {kDLCPU, 0},
            static_cast<int>(shape.size()),
            {kDLFloat, 32, 1},
            shape.data(),
            nullptr,
            0};
  }
  std::vector<int64_t> shape;
  std::vector<float> data;
  DLTensor view;
};

/// What a case keeps between its iterations.
class Problem {
public:
  explicit Problem(const Case &c) : options{c.threads, nullptr} {
    check(sparse_attn_library_open(c.library.c_str(), &library));
    kernel = sparse_attn_kernel_at(library, 0);
    auto start = std::chrono::steady_clock::now();
    check(sparse_attn_plan_create(kernel, &c.shape, nullptr, 0, &options, &plan));
    planSeconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    size_t bytes;
    check(sparse_attn_workspace_size(plan, &options, &bytes));
    workspace.resize(bytes);
    std::mt19937 random(1);
    sparse_attn_tensor_info info;
    for (size_t i = 0; i < 3; ++i) {
      check(sparse_attn_kernel_input_info(kernel, i, &info));
      dims[i] = info.dims[3];
    }
    const sparse_attn_shape &s = c.shape;
    auto add = [&](int64_t heads, int64_t rows, int64_t dim) {
      tensors.push_back(
          std::make_unique<Tensor>(dim ? std::vector<int64_t>{s.batch, heads, rows, dim}
                                       : std::vector<int64_t>{s.batch, heads, rows},
                                   random));
    };
    add(s.heads, s.queries, dims[0]);
    add(s.kv_heads, s.keys, dims[1]);
    add(s.kv_heads, s.keys, dims[2]);
    add(s.heads, s.queries, dims[2]);
    add(s.heads, s.queries, 0);
    countTiles();
  }
  ~Problem() {
    sparse_attn_plan_destroy(plan);
    sparse_attn_library_close(library);
  }

  void run() {
    const DLTensor *inputs[] = {&tensors[0]->view, &tensors[1]->view, &tensors[2]->view};
    DLTensor *outputs[] = {&tensors[3]->view, &tensors[4]->view};
    check(sparse_attn_run(plan, inputs, 3, outputs, 2, workspace.data(), workspace.size(),
                          &options));
  }

  double flops() const { return 2.0 * pairs * (dims[0] + dims[2]); }

  double planSeconds, pairs = 0, tiles = 0, allTiles = 0;
  sparse_attn_plan *plan = nullptr;
  std::vector<char> workspace;

private:
  void countTiles() {
    sparse_attn_grid grid;
    check(sparse_attn_plan_grid(plan, 0, &grid));
    for (int64_t b = 0; b < grid.batch; ++b)
      for (int64_t h = 0; h < grid.heads; ++h)
        for (int64_t t = 0; t < grid.row_tiles; ++t) {
          int64_t visited = 0;
          check(sparse_attn_plan_visit(
              plan, 0, b, h, t,
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

  sparse_attn_options options;
  const sparse_attn_library *library = nullptr;
  const sparse_attn_kernel *kernel = nullptr;
  int64_t dims[3];
  std::vector<std::unique_ptr<Tensor>> tensors;
};
} // namespace

static void runCase(benchmark::State &state, const Case &c) {
  double ceiling = measureFma(c.threads, 0.2);
  Problem problem(c);
  problem.run(); // pages in memory
  for (auto _ : state)
    problem.run();
  using benchmark::Counter;
  state.counters["flops"] = Counter(problem.flops(), Counter::kIsIterationInvariantRate);
  state.counters["of_fma"] =
      Counter(problem.flops() / ceiling, Counter::kIsIterationInvariantRate);
  state.counters["ceiling"] = ceiling;
  state.counters["tiles"] = problem.tiles;
  state.counters["of_tiles"] = problem.tiles / problem.allTiles;
  state.counters["plan_s"] = problem.planSeconds;
  state.counters["plan_bytes"] = sparse_attn_plan_bytes(problem.plan);
  state.counters["workspace_bytes"] = problem.workspace.size();
}

/// Prints the ceilings of `threads` cores at once, for scripts.
static int printCeilings(int threads) {
  if (threads < 1)
    fail("--ceilings wants a number of threads >= 1");
  double fma = measureFma(threads, 0.3), read = measureRead(threads, 0.3);
  double bf16Dot = measureBf16Dot(threads, 0.3);
  std::printf("{\"threads\": %d, \"fma\": %.6g, ", threads, fma);
  if (bf16Dot)
    std::printf("\"bf16_dot\": %.6g, ", bf16Dot);
  std::printf("\"read\": %.6g}\n", read);
  return 0;
}

int main(int argc, char **argv) {
  std::vector<char *> rest;
  std::vector<Case> cases;
  for (int i = 0; i < argc; ++i) {
    std::string argument = argv[i];
    if (argument.rfind("--ceilings=", 0) == 0)
      return printCeilings(std::atoi(argument.c_str() + 11));
    if (argument.rfind("--case=", 0) == 0)
      cases.push_back(parseCase(argument.substr(7)));
    else
      rest.push_back(argv[i]);
  }
  if (cases.empty())
    fail("give at least one --case=NAME,LIBRARY,B,H,Hkv,M,N,THREADS, or "
         "--ceilings=THREADS");
  for (const Case &c : cases)
    benchmark::RegisterBenchmark(c.name.c_str(),
                                 [c](benchmark::State &state) { runCase(state, c); })
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
  int count = rest.size();
  benchmark::Initialize(&count, rest.data());
  if (benchmark::ReportUnrecognizedArguments(count, rest.data()))
    return 1;
  for (int threads : {1, 2})
    benchmark::AddCustomContext("read_bandwidth_" + std::to_string(threads),
                                std::to_string(measureRead(threads, 0.3)));
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
