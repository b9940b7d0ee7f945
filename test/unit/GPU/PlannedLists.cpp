//===- PlannedLists.cpp - lists that a GPU makes beside the host's --------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM
// Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PlannedLists.h"
#include "sparse_attn/Package/Package.h"
#include "sparse_attn/Pipelines/Pipelines.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FileSystem.h"
#include <deque>

extern "C" {
#include "gpu.h"
}

using namespace mlir;
using namespace sparse_attn;
using namespace sparse_attn::planned;

namespace {
/// What a block is told of a query tile's key tile.
struct Tile {
  int32_t number;
  bool full;
  std::vector<uint8_t> bits;
  bool operator==(const Tile &other) const {
    return number == other.number && full == other.full && bits == other.bits;
  }
};
/// By attention, batch entry, head and first row of a tile: its shares, in order.
using Lists = std::map<std::tuple<int, int, int, int>, std::vector<std::vector<Tile>>>;
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

Compiled::~Compiled() { (void)llvm::sys::fs::remove_directories(folder); }

Planner::Planner(const sparse_attn_kernel *kernel, int capability)
    : kernel(kernel), driver(capability) {
  options.device = {kDLCUDA, 0};
  options.driver = driver.table();
}

Planner::~Planner() {
  for (void *memory : allocated)
    driver.table()->release(driver.table()->context, 0, memory);
}

void *Planner::upload(ArrayRef<uint8_t> bytes) {
  const sparse_attn_gpu_driver &table = *driver.table();
  void *memory = nullptr;
  EXPECT_EQ(table.allocate(table.context, 0, std::max<size_t>(bytes.size(), 1), &memory),
            nullptr);
  table.upload(table.context, 0, memory, bytes.data(), bytes.size());
  allocated.push_back(memory);
  return memory;
}

/// The operand with `gap` elements, which are no allowed values, after each
/// row, and as many rows after each matrix; `strides` gets where the axes lie.
static std::vector<uint8_t> spread(const Operand &operand, int64_t gap,
                                   int64_t elementBytes, std::vector<int64_t> &strides) {
  size_t rank = operand.shape.size();
  strides.assign(rank, 1);
  for (size_t axis = rank - 1; axis-- > 0;)
    strides[axis] = strides[axis + 1] * (operand.shape[axis + 1] + gap);
  int64_t rowBytes = operand.shape.back() * elementBytes;
  int64_t rows = rowBytes ? operand.bytes.size() / rowBytes : 0;
  std::vector<uint8_t> bytes(strides[0] * (operand.shape[0] + gap) * elementBytes, 0x7f);
  for (int64_t row = 0; row < rows; ++row) {
    int64_t at = 0, left = row;
    for (size_t axis = rank - 1; axis-- > 0; left /= operand.shape[axis])
      at += left % operand.shape[axis] * strides[axis];
    std::copy_n(operand.bytes.begin() + row * rowBytes, rowBytes,
                bytes.begin() + at * elementBytes);
  }
  return bytes;
}

Plan Planner::make(const sparse_attn_shape &shape, const Operands &operands,
                   bool onDevice) {
  std::vector<DLTensor> tensors;
  tensors.reserve(kernel->input_count);
  std::deque<std::vector<int64_t>> strides;
  std::vector<const DLTensor *> layout;
  for (const sa_tensor &spec : ArrayRef(kernel->inputs, kernel->input_count)) {
    if (!spec.layout)
      continue;
    const Operand &operand = operands.at(spec.name);
    DLTensor tensor{};
    tensor.data = const_cast<uint8_t *>(operand.bytes.data());
    tensor.device = {kDLCPU, 0};
    if (onDevice && !here.count(spec.name)) {
      std::vector<int64_t> &own = strides.emplace_back();
      tensor.data = upload(spread(operand, gap, spec.type_bits / 8, own));
      tensor.device = options.device;
      tensor.strides = own.data();
    }
    tensor.ndim = operand.shape.size();
    tensor.dtype = {static_cast<uint8_t>(spec.type_code),
                    static_cast<uint8_t>(spec.type_bits), 1};
    tensor.shape = const_cast<int64_t *>(operand.shape.data());
    tensors.push_back(tensor);
    layout.push_back(&tensors.back());
  }
  sparse_attn_plan *plan = nullptr;
  sparse_attn_plan_create(kernel, &shape, layout.data(), layout.size(), &options, &plan);
  return Plan(plan);
}

/// What the items of an attention say, which all lie in emulated memory.
static void readItems(const sparse_attn_plan *plan, int number, Lists &lists) {
  const sa_gpu_attention &gpu = plan->gpu->attentions[number];
  const char *memory = plan->gpu->memory, *own = gpu.listed ? gpu.listed : memory;
  auto *runs = reinterpret_cast<const sa_run *>(own + gpu.runs);
  auto *bits = reinterpret_cast<const uint8_t *>(own + gpu.bits);
  size_t bytes = size_t(gpu.code.tile_rows) * gpu.code.tile_keys / 8;
  auto *begin = reinterpret_cast<const sa_gpu_item *>(memory + gpu.items.at);
  std::vector<sa_gpu_item> items(begin, begin + gpu.items.count);
  llvm::sort(items, [](const auto &a, const auto &b) { return a.slot < b.slot; });
  for (const sa_gpu_item &item : items) {
    std::vector<Tile> &share =
        lists[{number, item.b, item.h, item.first_row}].emplace_back();
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
}

static Lists readLists(const sparse_attn_plan *plan) {
  Lists lists;
  for (int i = 0; i < plan->attention_count; ++i)
    if (sa_has_table(&plan->attentions[i]) &&
        sa_is_attention_needed(plan, &plan->attentions[i]))
      readItems(plan, i, lists);
  return lists;
}

using Visited = std::vector<std::tuple<int64_t, int64_t, int>>;

/// What a look into a plan tells, of query tiles and of key tiles; tile by
/// tile, since a host's runs break where its bits do.
static Visited visitAll(const sparse_attn_plan *plan, size_t index) {
  Visited visited;
  sparse_attn_grid grid;
  EXPECT_EQ(sparse_attn_plan_grid(plan, index, &grid), SPARSE_ATTN_OK);
  auto visit = [](void *to, int64_t first, int64_t tiles, sparse_attn_tile_class kind) {
    for (int64_t i = 0; i < tiles; ++i)
      static_cast<Visited *>(to)->push_back({-1, first + i, kind});
  };
  for (int64_t b = 0; b < grid.batch; ++b)
    for (int64_t h = 0; h < grid.heads; ++h) {
      for (int64_t row = 0; row < grid.row_tiles; ++row) {
        visited.push_back({b, h, static_cast<int>(row)});
        EXPECT_EQ(sparse_attn_plan_visit(plan, index, b, h, row, visit, &visited),
                  SPARSE_ATTN_OK);
      }
      for (int64_t key = 0; key < grid.key_tiles; ++key) {
        visited.push_back({b, h, static_cast<int>(key)});
        EXPECT_EQ(sparse_attn_plan_visit_keys(plan, index, b, h, key, visit, &visited),
                  SPARSE_ATTN_OK);
      }
      for (int64_t i = 0; i < 20; ++i) {
        sparse_attn_tile_class kind;
        int64_t p0 = i * 7 % std::max<int64_t>(grid.queries, 1);
        EXPECT_EQ(sparse_attn_plan_classify(plan, index, b, h, p0, p0 + i % 4, 5 * i,
                                            5 * i + i % 3, &kind),
                  SPARSE_ATTN_OK);
        visited.push_back({i, 0, kind});
      }
    }
  return visited;
}

static void expectSameLooks(const sparse_attn_plan &here, const sparse_attn_plan &there) {
  for (size_t i = 0; i < sparse_attn_plan_attention_count(&here); ++i)
    EXPECT_EQ(visitAll(&here, i), visitAll(&there, i));
}

bool planned::listsOnDevice(const sparse_attn_plan &plan) {
  return plan.gpu->lists_tiles;
}

/// Costs of an attention with the steps that there are to choose from: what the device
/// has counted is what the host counts.
static void compareCosts(sparse_attn_plan *here, sparse_attn_plan *there, int number) {
  sa_plan_attention &own = here->attentions[number], &other = there->attentions[number];
  int32_t chosen = own.step;
  for (int32_t step : {1, own.code->period}) {
    sa_set_step(&own, &here->shape, step);
    sa_set_step(&other, &there->shape, step);
    EXPECT_EQ(sa_attention_cost(here, &own, -1), sa_attention_cost(there, &other, -1))
        << "attention " << number << ", step " << step;
  }
  sa_set_step(&own, &here->shape, chosen);
  sa_set_step(&other, &there->shape, chosen);
}

void Planner::compare(const sparse_attn_shape &shape, const Operands &operands) {
  Plan here = make(shape, operands, false);
  ASSERT_TRUE(here) << sparse_attn_last_error();
  Plan there = make(shape, operands, true);
  ASSERT_TRUE(there) << sparse_attn_last_error();
  ASSERT_FALSE(listsOnDevice(*here));
  ASSERT_TRUE(listsOnDevice(*there));
  tiles = full = shares = 0;
  choices = {};
  for (int i = 0; i < here->attention_count; ++i) {
    const sa_plan_attention &own = here->attentions[i], &other = there->attentions[i];
    bool runs = sa_is_attention_needed(here.get(), &own);
    ASSERT_EQ(runs, sa_is_attention_needed(there.get(), &other));
    ASSERT_EQ(own.step, other.step);
    ++(!runs ? choices.left : own.step == 1 ? choices.neighbours : choices.stepping);
    if (sa_has_table(&own) && (here->attention_count > 1 || own.code->period != 1))
      compareCosts(here.get(), there.get(), i);
  }
  Lists wanted = readLists(here.get()), got = readLists(there.get());
  ASSERT_EQ(wanted.size(), got.size());
  for (auto &[place, list] : wanted) {
    auto [attention, b, h, row] = place;
    auto &own = got.at(place);
    ASSERT_EQ(list.size(), own.size()) << "shares of " << b << " " << h << " " << row;
    shares += list.size();
    for (auto [share, ownShare] : llvm::zip_equal(list, own)) {
      ASSERT_EQ(share.size(), ownShare.size()) << b << " " << h << " " << row;
      for (auto [tile, ownTile] : llvm::zip_equal(share, ownShare)) {
        ++tiles;
        full += tile.full;
        ASSERT_TRUE(tile == ownTile)
            << attention << " " << b << " " << h << " " << row << ": key tile "
            << tile.number << ", " << ownTile.number;
      }
    }
  }
  expectSameLooks(*here, *there);
}

void Planner::compareLooks(const sparse_attn_shape &shape, const Operands &operands) {
  Plan here = make(shape, operands, false), there = make(shape, operands, true);
  ASSERT_TRUE(here && there) << sparse_attn_last_error();
  EXPECT_FALSE(listsOnDevice(*here));
  EXPECT_TRUE(listsOnDevice(*there));
  for (int i = 0; i < there->attention_count; ++i)
    EXPECT_EQ(there->gpu->attentions[i].listed, nullptr);
  expectSameLooks(*here, *there);
}

void Planner::compareErrors(const sparse_attn_shape &shape, const Operands &operands,
                            StringRef reason) {
  EXPECT_FALSE(make(shape, operands, false));
  std::string words = sparse_attn_last_error();
  EXPECT_NE(words.find(reason), std::string::npos) << words;
  EXPECT_FALSE(make(shape, operands, true));
  EXPECT_EQ(sparse_attn_last_error(), words);
}

//===----------------------------------------------------------------------===//
// Random operands
//===----------------------------------------------------------------------===//

int32_t planned::draw(Random &random, int32_t limit) {
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

/// Block rows of `heads` heads, with bits in the blocks of what `operands` then
/// have.
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

/// A graph of 6 nodes, whose chunks begin and end anywhere, and may be empty.
static void drawGraph(Random &random, int64_t batch, int64_t keys, Operands &operands) {
  constexpr int32_t kNodes = 6;
  int64_t chunks = 1 + draw(random, 9), most = 1 + draw(random, 3);
  std::vector<int32_t> indptr = {0}, indices;
  for (int32_t node = 0; node < kNodes; ++node) {
    for (int64_t edge = draw(random, most + 1); edge > 0; --edge)
      indices.push_back(draw(random, kNodes));
    indptr.push_back(indices.size());
  }
  operands["edges"] = Operand::of({kNodes + 1}, indptr);
  operands["neighbours"] = Operand::of({int64_t(indices.size())}, indices);
  // Batch entries have chunks, or nodes in them, of their own or not.
  int64_t own = draw(random, 3);
  int64_t starts = own == 1 ? 1 : batch, nodes = own == 2 ? 1 : batch;
  std::vector<int32_t> offsets, owners;
  for (int64_t b = 0; b < starts; ++b) {
    std::vector<int32_t> row;
    for (int64_t i = 0; i <= chunks; ++i)
      row.push_back(draw(random, keys + 1));
    llvm::sort(row);
    llvm::append_range(offsets, row);
  }
  for (int64_t i = 0; i < nodes * chunks; ++i)
    owners.push_back(draw(random, kNodes));
  operands["chunks"] = Operand::of({starts, chunks + 1}, offsets);
  operands["chunk_node"] = Operand::of({nodes, chunks}, owners);
}

static Operand drawLengths(Random &random, int64_t batch, int64_t most) {
  std::vector<int32_t> values;
  for (int64_t b = 0; b < batch; ++b)
    values.push_back(draw(random, most + 1));
  return Operand::of({batch}, values);
}

Operands planned::drawOperands(Random &random, int64_t queries, int64_t keys) {
  Operands operands;
  operands["offsets"] = drawOffsets(random, 2, keys);
  drawBlocks(random, 2, llvm::divideCeil(keys, 24) - draw(random, 2),
             llvm::divideCeil(keys, 40), 24, 40, operands);
  operands["index"] = drawIndex(random, 2, keys);
  drawGraph(random, 2, keys, operands);
  operands["kv_len"] = drawLengths(random, 2, keys);
  operands["q_len"] = drawLengths(random, 2, queries);
  std::vector<int32_t> positions = {-draw(random, 200), draw(random, 200)};
  operands["q_offset"] = Operand::of({2}, positions);
  return operands;
}

Choices planned::checkPattern(const char *pattern, const Variant &variant) {
  SCOPED_TRACE(pattern);
  Choices choices;
  KernelSpec spec;
  spec.name = "listed";
  spec.pattern = pattern;
  spec.headDim = 16;
  spec.elementType = variant.type;
  spec.kvLen = spec.qLen = variant.lengths;
  spec.qOffset = variant.offsets;
  Compiled kernel(spec);
  if (!kernel.get())
    return choices;
  int64_t tiles = 0, full = 0, shares = 0;
  for (int capability : {80, 90}) {
    Planner planner(kernel.get(), capability);
    planner.gap = variant.gap;
    Random random(capability);
    for (auto [queries, keys] : variant.sizes) {
      sparse_attn_shape shape = {2, 2, 1, queries, keys};
      Operands operands = drawOperands(random, queries, keys);
      if (queries == 300) { // the whole of it
        operands["kv_len"] = Operand::of({2}, {300, 300});
        operands["q_len"] = Operand::of({2}, {300, 270});
      }
      planner.compare(shape, operands);
      if (testing::Test::HasFatalFailure())
        return choices;
      tiles += planner.tiles, full += planner.full, shares += planner.shares;
      choices.stepping += planner.choices.stepping;
      choices.neighbours += planner.choices.neighbours;
      choices.left += planner.choices.left;
    }
  }
  EXPECT_GT(tiles, full);
  EXPECT_GT(shares, 0);
  return choices;
}
