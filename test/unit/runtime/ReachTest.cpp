//===- ReachTest.cpp - the table of graph_hop against Floyd-Warshall ----===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MockKernel.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <cmath>
#include <random>

using namespace mock;

namespace {

/// A random graph with chunks, for one or several batch entries.
struct Graph {
  int nodes, keys, batches;
  std::vector<int32_t> indptr = {0}, indices;
  std::vector<std::vector<int32_t>> offsets, chunkNode; ///< by batch entry
  std::vector<std::vector<int>> distance;               ///< -1: no path

  Graph(unsigned seed, int nodes, int edges, int chunks, int keys, int batches,
        bool directed)
      : nodes(nodes), keys(keys), batches(batches),
        distance(nodes, std::vector<int>(nodes, -1)) {
    std::mt19937 engine(seed);
    auto draw = [&](int limit) { return static_cast<int>(engine() % limit); };
    std::vector<std::vector<int>> out(nodes);
    for (int e = 0; e < edges; ++e)
      out[draw(nodes)].push_back(draw(nodes)); // cycles, loops, repeats
    for (int v = 0; v < nodes; ++v) {
      indices.insert(indices.end(), out[v].begin(), out[v].end());
      indptr.push_back(static_cast<int32_t>(indices.size()));
      distance[v][v] = 0;
    }
    for (int v = 0; v < nodes; ++v)
      for (int w : out[v])
        for (auto [a, b] : {std::pair{v, w}, std::pair{w, v}})
          if (a != b && (a == v || !directed))
            distance[a][b] = 1;
    for (int k = 0; k < nodes; ++k)
      for (int i = 0; i < nodes; ++i)
        for (int j = 0; j < nodes; ++j)
          if (distance[i][k] >= 0 && distance[k][j] >= 0 &&
              (distance[i][j] < 0 || distance[i][k] + distance[k][j] < distance[i][j]))
            distance[i][j] = distance[i][k] + distance[k][j];
    for (int b = 0; b < batches; ++b) {
      std::vector<int32_t> starts, owners;
      for (int c = 0; c <= chunks; ++c)
        starts.push_back(draw(keys + 1)); // empty chunks, tokens outside
      std::sort(starts.begin(), starts.end());
      for (int c = 0; c < chunks; ++c)
        owners.push_back(draw(nodes));
      offsets.push_back(starts);
      chunkNode.push_back(owners);
    }
  }

  /// Hops from token p to token j, -1 if j is out of reach.
  int hops(int b, int p, int j) const {
    auto nodeOf = [&](int t) {
      for (size_t c = 0; c + 1 < offsets[b].size(); ++c)
        if (offsets[b][c] <= t && t < offsets[b][c + 1])
          return static_cast<int>(chunkNode[b][c]);
      return -1;
    };
    int from = nodeOf(p), to = nodeOf(j);
    if (from < 0 || to < 0)
      return p == j ? 0 : -1;
    return distance[from][to];
  }
};

std::unique_ptr<Tensor> flatten(const std::vector<std::vector<int32_t>> &rows) {
  std::vector<int32_t> values;
  for (const std::vector<int32_t> &row : rows)
    values.insert(values.end(), row.begin(), row.end());
  return Tensor::of(
      {static_cast<int64_t>(rows.size()), static_cast<int64_t>(rows[0].size())}, values);
}

/// A kernel whose mask is graph_hop of `graph`.
struct GraphKernel {
  Kernel kernel;
  Attention *attention;
  std::unique_ptr<Tensor> offsets, chunkNode, indptr, indices;

  GraphKernel(const Graph &graph, int maxHops, bool directed, bool distances, int d = 2,
              int dv = 2)
      : offsets(flatten(graph.offsets)), chunkNode(flatten(graph.chunkNode)),
        indptr(Tensor::of({graph.nodes + 1}, graph.indptr)),
        indices(Tensor::of({static_cast<int64_t>(graph.indices.size())}, graph.indices)) {
    kernel.addQKV(d, dv);
    std::vector<int32_t> ids = {
        kernel.layout("offsets", {17, 0}), kernel.layout("chunk_node", {17, 0}),
        kernel.layout("indptr", {0}), kernel.layout("indices", {0})};
    attention = &kernel.attention(
        d, dv,
        [](const sa_mask_context *context, int b, int, int p0, int p1, int j0, int j1,
           int) { return sa_classify_reach(context->tables[0], b, p0, p1, j0, j1); },
        nullptr);
    attention->code.binding = SA_BINDING_PLAN;
    attention->code.per_batch = 1;
    attention->tables.push_back(kernel.makeReach(ids, maxHops, directed, distances));
    attention->checks.push_back(kernel.makeCheck(SA_CHECK_GRAPH, ids, {}, "graph_hop"));
    if (distances)
      attention->code.hop_table = 0;
    kernel.outputState(dv);
  }

  std::vector<Tensor *> layout() const {
    return {offsets.get(), chunkNode.get(), indptr.get(), indices.get()};
  }
};

/// The class of every rectangle agrees with the distances.
void checkClasses(const sparse_attn_plan *plan, const Graph &graph, int maxHops) {
  auto keep = [&](int b, int p, int j) {
    int hops = graph.hops(b, p, j);
    return hops >= 0 && (maxHops < 0 || hops <= maxHops);
  };
  for (int b = 0; b < graph.batches; ++b)
    for (int p0 = -2; p0 < graph.keys + 2; ++p0)
      for (int p1 = p0; p1 < graph.keys + 2; p1 += 1 + (p1 - p0) / 3)
        for (int j0 = 0; j0 < graph.keys; ++j0) {
          bool any = false, all = true;
          for (int j1 = j0; j1 < graph.keys; ++j1) {
            for (int p = p0; p <= p1; ++p) {
              any = any || keep(b, p, j1);
              all = all && keep(b, p, j1);
            }
            sparse_attn_tile_class kind;
            ASSERT_EQ(sparse_attn_plan_classify(plan, 0, b, 0, p0, p1, j0, j1, &kind),
                      SPARSE_ATTN_OK);
            ASSERT_EQ(kind, !any  ? 0
                            : all ? 1
                                  : 2)
                << "b " << b << " p [" << p0 << ", " << p1 << "] j [" << j0 << ", " << j1
                << "]";
          }
        }
}

TEST(Reach, classesMatchFloydWarshall) {
  unsigned seed = 0;
  for (bool directed : {false, true})
    for (int maxHops : {-1, 0, 1, 2, 5})
      for (auto [nodes, edges, chunks] : {std::tuple{1, 0, 1},
                                          {1, 2, 3},
                                          {5, 4, 7},
                                          {8, 12, 10},
                                          {9, 3, 6},
                                          {6, 40, 9}})
        for (int batches : {1, 2}) {
          Graph graph(++seed, nodes, edges, chunks, 17, batches, directed);
          GraphKernel mock(graph, maxHops, directed, seed % 2);
          Plan plan = makePlan(mock.kernel.get(), {batches, 1, 1, 17, 17}, mock.layout());
          ASSERT_TRUE(plan);
          checkClasses(plan.get(), graph, maxHops);
        }
}

/// Tiles that were filled and compared.
int filledTiles = 0;

/// Fills a tile, and compares each of its pairs with the classifier; so too for rows
/// and keys that are 3 apart.
void fillAndCompare(const sa_fill_args *args) {
  const void *table = args->context->tables[0];
  int b = static_cast<int>(args->b);
  for (int step : {3, 1}) {
    sa_fill_args pairs = *args;
    pairs.step = step;
    pairs.rows = (args->rows + step - 1) / step;
    pairs.keys = (args->keys + step - 1) / step;
    sa_fill_reach(table, b, &pairs, args->bits);
    for (int r = 0; r < pairs.rows; ++r)
      for (int k = 0; k < kTileKeys; ++k) {
        int p = static_cast<int>(pairs.first_position) + step * r;
        int j = static_cast<int>(pairs.first_key) + step * k;
        int kept = args->bits[r * args->row_bytes + k / 8] >> (k % 8) & 1;
        ASSERT_EQ(kept, k < pairs.keys && sa_classify_reach(table, b, p, p, j, j) == 1)
            << "b " << b << " p " << p << " j " << j;
      }
  }
  ++filledTiles;
}

TEST(Reach, filledTilesMatchTheClasses) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    Graph graph(seed, 9, 6, 11, 61, 2, seed % 2);
    if (seed % 3 == 0) /* tokens in no chunk at both ends */
      graph.offsets[1].front() = 5, graph.offsets[1].back() -= 6;
    std::sort(graph.offsets[1].begin(), graph.offsets[1].end());
    GraphKernel mock(graph, static_cast<int>(seed % 3), seed % 2, false);
    for (sa_level &level : mock.attention->levels)
      level.fill = fillAndCompare;
    ASSERT_TRUE(makePlan(mock.kernel.get(), {2, 1, 1, 61, 61}, mock.layout()));
  }
  EXPECT_GT(filledTiles, 1000);
}

TEST(Reach, noChunkSeesOnlyItself) {
  Graph graph(1, 2, 1, 3, 9, 1, false);
  graph.offsets[0] = {4};
  graph.chunkNode[0] = {};
  GraphKernel mock(graph, 1, false, true);
  Plan plan = makePlan(mock.kernel.get(), {1, 1, 1, 9, 9}, mock.layout());
  ASSERT_TRUE(plan);
  checkClasses(plan.get(), graph, 1);
}

/// hop_decay: the scores see the distances of the hop tiles.
TEST(Reach, hopTilesHoldTheDistances) {
  const int n = 37, d = 2, dv = 2;
  for (unsigned seed = 0; seed < 12; ++seed) {
    bool directed = seed % 2;
    Graph graph(seed, 7, 9, 8, n, 2, directed);
    GraphKernel mock(graph, -1, directed, true, d, dv);
    sparse_attn_shape shape = {2, 2, 1, n, n};
    Plan plan = makePlan(mock.kernel.get(), shape, mock.layout());
    ASSERT_TRUE(plan);
    auto q = Tensor::random({2, 2, n, d}, 1), k = Tensor::random({2, 1, n, d}, 2),
         v = Tensor::random({2, 1, n, dv}, 3), o = Tensor::filled({2, 2, n, dv}, NAN),
         lse = Tensor::filled({2, 2, n}, NAN);
    ASSERT_EQ(run(plan.get(), {q.get(), k.get(), v.get()}, {o.get(), lse.get()}),
              SPARSE_ATTN_OK);
    for (int plane = 0; plane < 4; ++plane)
      for (int i = 0; i < n; ++i) {
        double sum = 0;
        for (int j = 0; j < n; ++j) {
          int hops = graph.hops(plane / 2, i, j);
          if (hops < 0)
            continue;
          double s = 0;
          for (int x = 0; x < d; ++x)
            s += double(q->floats[(plane * n + i) * d + x]) *
                 k->floats[(plane / 2 * n + j) * d + x];
          sum += std::exp(s / std::sqrt(double(d)) - 0.25 * hops);
        }
        ASSERT_NEAR(lse->floats[plane * n + i], std::log(sum), 1e-5) << plane << " " << i;
      }
  }
}

TEST(Reach, longChainsSaturateTheDistance) {
  // 70,000 nodes in a row; the distance does not fit 16 bits.
  const int nodes = 70000;
  std::vector<int32_t> indptr(nodes + 1), indices(nodes - 1);
  for (int v = 0; v < nodes; ++v)
    indptr[v + 1] = std::min(v + 1, nodes - 1);
  for (int v = 0; v + 1 < nodes; ++v)
    indices[v] = v + 1;
  Graph graph(1, 1, 0, 1, 3, 1, true);
  GraphKernel mock(graph, -1, true, true);
  mock.indptr = Tensor::of({nodes + 1}, indptr);
  mock.indices = Tensor::of({nodes - 1}, indices);
  mock.offsets = Tensor::of({1, 3}, std::vector<int32_t>{0, 2, 3});
  mock.chunkNode = Tensor::of({1, 2}, std::vector<int32_t>{0, nodes - 1});
  Plan plan = makePlan(mock.kernel.get(), {1, 1, 1, 3, 3}, mock.layout());
  ASSERT_TRUE(plan);
  auto q = Tensor::filled({1, 1, 3, 2}, 0), o = Tensor::filled({1, 1, 3, 2}, NAN),
       lse = Tensor::filled({1, 1, 3}, NAN);
  ASSERT_EQ(run(plan.get(), {q.get(), q.get(), q.get()}, {o.get(), lse.get()}),
            SPARSE_ATTN_OK);
  EXPECT_NEAR(lse->floats[0], std::log(2.0), 1e-6); // 65534 hops away weighs nothing
  EXPECT_NEAR(lse->floats[2], 0, 1e-6);
  sparse_attn_tile_class kind;
  ASSERT_EQ(sparse_attn_plan_classify(plan.get(), 0, 0, 0, 0, 0, 2, 2, &kind),
            SPARSE_ATTN_OK);
  EXPECT_EQ(kind, SPARSE_ATTN_TILE_FULL);
}

} // namespace
