//===- ListTilesTest.cpp - lists that a GPU makes against the host's ------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Two plans of one kernel, of the same operands: here, where the host lists the tiles,
// and in the device's memory, where kernels do, on the emulator. What the attention
// kernels are told must be the same, tile for tile, share for share, bit for bit.
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Expression/Expression.h"
#include "sparse_attn/Package/Package.h"
#include "sparse_attn/Pipelines/Pipelines.h"
#include "sparse_attn/Session/EmulatedDriver.h"
#include "sparse_attn/Session/Session.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FileSystem.h"
#include <gtest/gtest.h>
#include <map>
#include <random>

extern "C" {
#include "gpu.h"
}

using namespace mlir;
using namespace sparse_attn;

namespace {
/// A layout operand.
struct Operand {
  std::vector<int64_t> shape;
  std::vector<uint8_t> bytes;

  static Operand of(std::vector<int64_t> shape, ArrayRef<int32_t> values) {
    auto *data = reinterpret_cast<const uint8_t *>(values.data());
    return {std::move(shape), {data, data + 4 * values.size()}};
  }
};
using Operands = std::map<std::string, Operand>;

struct DestroyPlan {
  void operator()(sparse_attn_plan *plan) const { sparse_attn_plan_destroy(plan); }
};
using Plan = std::unique_ptr<sparse_attn_plan, DestroyPlan>;

/// What a block is told of a query tile's key tile.
struct Tile {
  int32_t number;
  bool full;
  std::vector<uint8_t> bits;
  bool operator==(const Tile &other) const {
    return number == other.number && full == other.full && bits == other.bits;
  }
};
/// By first row of a tile, head and batch entry: its shares, in order.
using Lists = std::map<std::tuple<int, int, int>, std::vector<std::vector<Tile>>>;

/// A library of one kernel for sm_80 and sm_90a.
class Compiled {
public:
  explicit Compiled(const KernelSpec &spec);
  ~Compiled() { (void)llvm::sys::fs::remove_directories(folder); }

  const sparse_attn_kernel *get() const { return kernel; }

private:
  llvm::SmallString<128> folder;
  std::optional<run::Library> library;
  const sparse_attn_kernel *kernel = nullptr;
};

/// Plans on an emulated device.
class Planner {
public:
  Planner(const sparse_attn_kernel *kernel, int capability)
      : kernel(kernel), driver(capability) {
    options.device = {kDLCUDA, 0};
    options.driver = driver.table();
  }
  ~Planner() {
    for (void *memory : allocated)
      driver.table()->release(driver.table()->context, 0, memory);
  }

  /// Null where that fails.
  Plan make(const sparse_attn_shape &shape, Operands &operands, bool onDevice);
  /// Fails the test where the two plans differ.
  void compare(const sparse_attn_shape &shape, Operands &operands);
  /// All tiles, full ones and shares of the last plans that were compared.
  int64_t tiles = 0, full = 0, shares = 0;

private:
  const sparse_attn_kernel *kernel;
  run::EmulatedDriver driver;
  sparse_attn_options options{};
  std::vector<void *> allocated;
};
} // namespace

Compiled::Compiled(const KernelSpec &spec) {
  EXPECT_FALSE(llvm::sys::fs::createUniqueDirectory("sparse-attn-lists", folder));
  DialectRegistry registry;
  registerDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  loadExpressionDialects(context);
  auto module = OwningOpRef<ModuleOp>(ModuleOp::create(UnknownLoc::get(&context)));
  EXPECT_TRUE(succeeded(buildKernel(*module, spec)));
  CompileOptions options;
  options.name = spec.name;
  options.levels = {findLevel("avx2")};
  options.gpu.targets = {findGPUTarget("sm_80"), findGPUTarget("sm_90a")};
  options.gpu.keepCode = true;
  FailureOr<CompiledLibrary> compiled = compileLibrary(*module, options);
  if (failed(compiled)) {
    ADD_FAILURE() << spec.pattern << " does not compile";
    return;
  }
  PackageOptions package{folder.str().str(), RUNTIME_ARCHIVE, ""};
  library.emplace(cantFail(
      run::Library::open(cantFail(packageLibrary(*compiled, package)).sharedLibrary)));
  kernel = cantFail(library->find(""));
}

Plan Planner::make(const sparse_attn_shape &shape, Operands &operands, bool onDevice) {
  std::vector<DLTensor> tensors;
  tensors.reserve(kernel->input_count);
  std::vector<const DLTensor *> layout;
  for (const sa_tensor &spec : ArrayRef(kernel->inputs, kernel->input_count)) {
    if (!spec.layout)
      continue;
    Operand &operand = operands.at(spec.name);
    DLTensor tensor{};
    tensor.data = operand.bytes.data();
    tensor.device = {kDLCPU, 0};
    if (onDevice) {
      const sparse_attn_gpu_driver &table = *driver.table();
      void *memory = nullptr;
      size_t bytes = operand.bytes.size();
      EXPECT_EQ(table.allocate(table.context, 0, std::max<size_t>(bytes, 1), &memory),
                nullptr);
      table.upload(table.context, 0, memory, operand.bytes.data(), bytes);
      allocated.push_back(memory);
      tensor.data = memory;
      tensor.device = options.device;
    }
    tensor.ndim = operand.shape.size();
    tensor.dtype = {static_cast<uint8_t>(spec.type_code),
                    static_cast<uint8_t>(spec.type_bits), 1};
    tensor.shape = operand.shape.data();
    tensors.push_back(tensor);
    layout.push_back(&tensors.back());
  }
  sparse_attn_plan *plan = nullptr;
  sparse_attn_plan_create(kernel, &shape, layout.data(), layout.size(), &options, &plan);
  return Plan(plan);
}

/// What the items of a plan say, which all lie in emulated memory.
static Lists readItems(const sparse_attn_plan *plan) {
  const sa_gpu_attention &gpu = plan->gpu->attentions[0];
  const char *memory = plan->gpu->memory, *own = gpu.listed ? gpu.listed : memory;
  auto *runs = reinterpret_cast<const sa_run *>(own + gpu.runs);
  auto *bits = reinterpret_cast<const uint8_t *>(own + gpu.bits);
  size_t bytes = size_t(gpu.code.tile_rows) * gpu.code.tile_keys / 8;
  auto *begin = reinterpret_cast<const sa_gpu_item *>(memory + gpu.items.at);
  std::vector<sa_gpu_item> items(begin, begin + gpu.items.count);
  llvm::sort(items, [](const auto &a, const auto &b) { return a.slot < b.slot; });
  Lists lists;
  for (const sa_gpu_item &item : items) {
    std::vector<Tile> &share = lists[{item.b, item.h, item.first_row}].emplace_back();
    for (const sa_run &run : ArrayRef(runs + item.first, item.end - item.first))
      for (int32_t i = 0; i < run.tiles; ++i) {
        Tile tile{run.first_tile + i, run.mask == SA_RUN_FULL, {}};
        if (!tile.full) {
          const uint8_t *first = bits + (run.mask + i) * bytes;
          tile.bits.assign(first, first + bytes);
        }
        share.push_back(std::move(tile));
      }
  }
  return lists;
}

using Visited = std::vector<std::tuple<int64_t, int64_t, int>>;

/// What a look into a plan tells, of query tiles and of key tiles; tile by tile, since a
/// host's runs break where its bits do.
static Visited visitAll(const sparse_attn_plan *plan) {
  Visited visited;
  sparse_attn_grid grid;
  EXPECT_EQ(sparse_attn_plan_grid(plan, 0, &grid), SPARSE_ATTN_OK);
  auto visit = [](void *to, int64_t first, int64_t tiles, sparse_attn_tile_class kind) {
    for (int64_t i = 0; i < tiles; ++i)
      static_cast<Visited *>(to)->push_back({-1, first + i, kind});
  };
  for (int64_t b = 0; b < grid.batch; ++b)
    for (int64_t h = 0; h < grid.heads; ++h) {
      for (int64_t row = 0; row < grid.row_tiles; ++row) {
        visited.push_back({b, h, static_cast<int>(row)});
        EXPECT_EQ(sparse_attn_plan_visit(plan, 0, b, h, row, visit, &visited),
                  SPARSE_ATTN_OK);
      }
      for (int64_t key = 0; key < grid.key_tiles; ++key) {
        visited.push_back({b, h, static_cast<int>(key)});
        EXPECT_EQ(sparse_attn_plan_visit_keys(plan, 0, b, h, key, visit, &visited),
                  SPARSE_ATTN_OK);
      }
      for (int64_t i = 0; i < 20; ++i) {
        sparse_attn_tile_class kind;
        int64_t p0 = i * 7 % std::max<int64_t>(grid.queries, 1);
        EXPECT_EQ(sparse_attn_plan_classify(plan, 0, b, h, p0, p0 + i % 4, 5 * i,
                                            5 * i + i % 3, &kind),
                  SPARSE_ATTN_OK);
        visited.push_back({i, 0, kind});
      }
    }
  return visited;
}

void Planner::compare(const sparse_attn_shape &shape, Operands &operands) {
  Plan here = make(shape, operands, false);
  ASSERT_TRUE(here) << sparse_attn_last_error();
  Plan there = make(shape, operands, true);
  ASSERT_TRUE(there) << sparse_attn_last_error();
  ASSERT_FALSE(here->gpu->lists_tiles);
  ASSERT_TRUE(there->gpu->lists_tiles);
  Lists wanted = readItems(here.get()), got = readItems(there.get());
  tiles = full = shares = 0;
  ASSERT_EQ(wanted.size(), got.size());
  for (auto &[place, list] : wanted) {
    auto [b, h, row] = place;
    auto &own = got.at(place);
    ASSERT_EQ(list.size(), own.size()) << "shares of " << b << " " << h << " " << row;
    shares += list.size();
    for (auto [share, ownShare] : llvm::zip_equal(list, own)) {
      ASSERT_EQ(share.size(), ownShare.size()) << b << " " << h << " " << row;
      for (auto [tile, ownTile] : llvm::zip_equal(share, ownShare)) {
        ++tiles;
        full += tile.full;
        ASSERT_TRUE(tile == ownTile) << b << " " << h << " " << row << ": key tile "
                                     << tile.number << ", " << ownTile.number;
      }
    }
  }
  EXPECT_EQ(visitAll(here.get()), visitAll(there.get()));
}

//===----------------------------------------------------------------------===//
// Random operands
//===----------------------------------------------------------------------===//

using Random = std::mt19937;
static int32_t draw(Random &random, int32_t limit) {
  return std::uniform_int_distribution<int32_t>(0, limit - 1)(random);
}

/// Documents, some of them empty, that begin and end anywhere.
static Operand drawOffsets(Random &random, int64_t batch, int64_t keys) {
  constexpr int64_t kCount = 6;
  std::vector<int32_t> starts;
  for (int64_t b = 0; b < batch; ++b) {
    std::vector<int32_t> own;
    for (int64_t i = 0; i < kCount; ++i)
      own.push_back(draw(random, keys + 1));
    llvm::sort(own);
    if (draw(random, 2))
      own.front() = 0, own.back() = keys;
    llvm::append_range(starts, own);
  }
  return Operand::of({batch, kCount}, starts);
}

/// Block rows of `heads` heads, with bits in the blocks of what `operands` then have.
static void drawBlocks(Random &random, int64_t heads, int64_t rows, int64_t columns,
                       int64_t blockRows, int64_t blockKeys, Operands &operands) {
  std::vector<int32_t> indptr, indices;
  for (int64_t h = 0; h < heads; ++h) {
    indptr.push_back(indices.size());
    int32_t share = 1 + draw(random, 4);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c)
        if (draw(random, 4) < share)
          indices.push_back(c);
      indptr.push_back(indices.size());
    }
  }
  int64_t blocks = indices.size(), bytes = llvm::divideCeil(blockKeys, 8);
  operands["indptr"] = Operand::of({1, heads, rows + 1}, indptr);
  operands["indices"] = Operand::of({1, 1, blocks}, indices);
  Operand bits{{1, blocks, blockRows, bytes}, {}};
  for (int64_t block = 0; block < blocks; ++block) {
    int kind = draw(random, 3); // all, none, some
    for (int64_t i = 0; i < blockRows * bytes; ++i)
      bits.bytes.push_back(kind == 0 ? 0xff : kind == 1 ? 0 : draw(random, 256));
  }
  operands["bits"] = bits;
}

static Operand drawIndex(Random &random, int64_t batch, int64_t keys) {
  std::vector<int32_t> values;
  for (int64_t i = 0; i < batch * 9; ++i)
    values.push_back(draw(random, keys + 20) - 20 < 0 ? -1 : draw(random, keys));
  return Operand::of({batch, 9}, values);
}

static Operand drawLengths(Random &random, int64_t batch, int64_t most) {
  std::vector<int32_t> values;
  for (int64_t b = 0; b < batch; ++b)
    values.push_back(draw(random, most + 1));
  return Operand::of({batch}, values);
}

/// Plans of several shapes and operands for each target.
static void checkPattern(const char *pattern, ElementType type = ElementType::BF16,
                         bool lengths = true) {
  SCOPED_TRACE(pattern);
  KernelSpec spec;
  spec.name = "listed";
  spec.pattern = pattern;
  spec.headDim = 16;
  spec.elementType = type;
  spec.kvLen = spec.qLen = lengths;
  Compiled kernel(spec);
  if (!kernel.get())
    return;
  int64_t tiles = 0, full = 0, shares = 0;
  for (int capability : {80, 90}) {
    Planner planner(kernel.get(), capability);
    Random random(capability);
    for (auto [queries, keys] :
         {std::pair<int64_t, int64_t>{300, 300}, {130, 555}, {1, 700}, {200, 90}}) {
      sparse_attn_shape shape = {2, 2, 1, queries, keys};
      Operands operands;
      operands["offsets"] = drawOffsets(random, 2, keys);
      drawBlocks(random, 2, llvm::divideCeil(keys, 24) - draw(random, 2),
                 llvm::divideCeil(keys, 40), 24, 40, operands);
      operands["index"] = drawIndex(random, 2, keys);
      operands["kv_len"] = drawLengths(random, 2, keys);
      operands["q_len"] = drawLengths(random, 2, queries);
      if (queries == 300) { // the whole of it
        operands["kv_len"] = Operand::of({2}, {300, 300});
        operands["q_len"] = Operand::of({2}, {300, 270});
      }
      ASSERT_NO_FATAL_FAILURE(planner.compare(shape, operands));
      tiles += planner.tiles, full += planner.full, shares += planner.shares;
    }
  }
  EXPECT_GT(tiles, full);
  EXPECT_GT(shares, 0);
}

TEST(GPULists, segments) {
  checkPattern("segments(offsets)");
  checkPattern("causal & segments(offsets)", ElementType::F32, /*lengths=*/false);
}

TEST(GPULists, blockMasks) {
  checkPattern("block_mask(indptr, indices, 24, 40)");
  checkPattern("causal & block_mask(indptr, indices, 24, 40)", ElementType::F32,
               /*lengths=*/false);
}

TEST(GPULists, bitsOfBlocks) {
  checkPattern("block_mask(indptr, indices, bits, 24, 40)");
}

TEST(GPULists, compositions) {
  for (const char *pattern :
       {"causal & (segments(offsets) | global(index) | sink(3))",
        "window(60, 10) | (block_mask(indptr, indices, 24, 40) & ~segments(offsets))",
        "per_head([segments(offsets), causal & block_mask(indptr, indices, 24, 40)], "
        "table = [1, 0])",
        "~(segments(offsets) | window(20, 20))", "causal - segments(offsets)"})
    checkPattern(pattern);
}
