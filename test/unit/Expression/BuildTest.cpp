//===- BuildTest.cpp - expressions become the IR that they mean -----------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ExpressionTesting.h"
#include "dialect/SparseAttn/SparseAttn.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace sparse_attn;

namespace {

/// The mask ops of `pattern`, one a line, without the dialect's prefix.
std::string getMasks(llvm::StringRef pattern) {
  Built built = build(makeSpec(pattern));
  EXPECT_EQ(built.errors, "") << pattern.str();
  std::string masks;
  llvm::SmallVector<llvm::StringRef> lines;
  llvm::StringRef(built.ir).split(lines, '\n');
  for (llvm::StringRef line : lines) {
    auto [result, op] = line.trim().split(" = sparse_attn.");
    if (!op.empty() && !op.starts_with("attention"))
      masks += (result + " = " + op.trim() + "\n").str();
  }
  return masks;
}

/// The first line of the function, up to its body.
std::string getSignature(const KernelSpec &spec) {
  Built built = build(spec);
  EXPECT_EQ(built.errors, "");
  return llvm::StringRef(built.ir).split(" {\n").first.str();
}

TEST(Expression, OperatorsAreTheAlgebra) {
  EXPECT_EQ(getMasks("causal & (window(1023, 0) | sink(4))"),
            "%0 = causal\n"
            "%1 = window left = 1023 right = 0\n"
            "%2 = sink size = 4\n"
            "%3 = union %1, %2\n"
            "%4 = intersect %0, %3\n");
  EXPECT_EQ(getMasks("all - ~none"), "%0 = all\n"
                                     "%1 = none\n"
                                     "%2 = complement %1\n"
                                     "%3 = difference %0, %2\n");
}

// The same ops by their names.
TEST(Expression, OperatorsHaveNames) {
  EXPECT_EQ(getMasks("union(causal, sink(4))"), getMasks("causal | sink(4)"));
  EXPECT_EQ(getMasks("union([causal, sink(4)])"), getMasks("causal | sink(4)"));
  EXPECT_EQ(getMasks("intersect(causal, sink(4))"), getMasks("causal & sink(4)"));
  EXPECT_EQ(getMasks("difference(causal, sink(4))"), getMasks("causal - sink(4)"));
  EXPECT_EQ(getMasks("difference(rhs=sink(4), lhs=causal)"),
            getMasks("causal - sink(4)"));
  EXPECT_EQ(getMasks("complement(causal)"), getMasks("~causal"));
}

// A score is named where a selection takes one, its weights become arguments, and a
// choice is one of its words.
TEST(Expression, Selections) {
  EXPECT_EQ(getMasks("top_k(dot, causal, 8)"), "%0 = score.dot\n"
                                               "%1 = causal\n"
                                               "%2 = top_k %0, %1 k = 8\n");
  EXPECT_EQ(getMasks("top_k(dot, candidates=causal, k=8)"),
            getMasks("top_k(dot(), causal, 8)"));
  EXPECT_EQ(getMasks("threshold(pages(share=group), all, 0.5, block_k=16)"),
            "%0 = score.pages share = group\n"
            "%1 = all\n"
            "%2 = threshold %0, %1 t = 5.000000e-01 block_k = 16\n");
  EXPECT_EQ(getMasks("sink(2) | sample.uniform(causal, rate=0.25, seed=3)"),
            "%0 = sink size = 2\n"
            "%1 = causal\n"
            "%2 = sample.uniform %1 rate = 2.500000e-01 seed = 3\n"
            "%3 = union %0, %2 : !sparse_attn.mask, !sparse_attn.mask<sampled>\n");
  KernelSpec spec =
      makeSpec("top_p(hash(wq, wk, [64, 32], activation=tanh), causal, p=0.9)");
  EXPECT_NE(getSignature(spec).find("%arg4: tensor<?x?xf32> {sparse_attn.name = \"wk\"}"),
            std::string::npos);
  EXPECT_NE(build(spec).ir.find("layers = [64, 32] activation = tanh :"),
            std::string::npos);
}

TEST(Expression, Precedence) {
  EXPECT_EQ(getMasks("all | causal & none"), getMasks("all | (causal & none)"));
  EXPECT_EQ(getMasks("all - causal & none"), getMasks("all - (causal & none)"));
  EXPECT_EQ(getMasks("all | causal - none"), getMasks("(all | causal) - none"));
  EXPECT_EQ(getMasks("all - causal | none"), getMasks("(all - causal) | none"));
  EXPECT_EQ(getMasks("all - causal - none"), getMasks("(all - causal) - none"));
  EXPECT_EQ(getMasks("~all & causal"), getMasks("(~all) & causal"));
  EXPECT_EQ(getMasks("~~all"), getMasks("~(~(all))"));
  EXPECT_NE(getMasks("all - (causal - none)"), getMasks("all - causal - none"));
  EXPECT_NE(getMasks("~(all & causal)"), getMasks("~all & causal"));
}

// A chain of one operator is one op; brackets keep their own.
TEST(Expression, Chains) {
  EXPECT_EQ(getMasks("all | causal | none"), "%0 = all\n%1 = causal\n%2 = none\n"
                                             "%3 = union %0, %1, %2\n");
  EXPECT_EQ(getMasks("all & causal & none"), "%0 = all\n%1 = causal\n%2 = none\n"
                                             "%3 = intersect %0, %1, %2\n");
  EXPECT_EQ(getMasks("(all | causal) | none"), "%0 = all\n%1 = causal\n"
                                               "%2 = union %0, %1\n%3 = none\n"
                                               "%4 = union %2, %3\n");
}

TEST(Expression, ArgumentsByPositionAndName) {
  EXPECT_EQ(getMasks("window(left=3)"), "%0 = window left = 3\n");
  EXPECT_EQ(getMasks("window(right=1, left=3)"), "%0 = window left = 3 right = 1\n");
  EXPECT_EQ(getMasks("window(1023, unbounded)"), "%0 = window left = 1023\n");
  EXPECT_EQ(getMasks("window(unbounded, 0)"), "%0 = window right = 0\n");
  // Positions are those of the op's declaration, not of the alphabet.
  EXPECT_EQ(getMasks("fixed(64, 8)"), "%0 = fixed stride = 64 columns = 8\n");
  EXPECT_EQ(getMasks("dilated(6, 4, rate=2)"),
            "%0 = dilated left = 6 right = 4 rate = 2\n");
  EXPECT_EQ(getMasks("dilated(6, 4, 2)"), "%0 = dilated left = 6 right = 4 rate = 2\n");
  EXPECT_EQ(getMasks("global(positions=[0, 5])"), "%0 = global positions = [0, 5]\n");
  EXPECT_EQ(getMasks("global([0, 5])"), "%0 = global positions = [0, 5]\n");
  EXPECT_EQ(getMasks("neighborhood([8, 8], [1, 2])"),
            "%0 = neighborhood grid = [8, 8] radius = [1, 2]\n");
  EXPECT_EQ(getMasks("per_head([causal, window(7,0)], table=[0,0,1,1])"),
            "%0 = causal\n%1 = window left = 7 right = 0\n"
            "%2 = per_head %0, %1 table = [0, 0, 1, 1]\n");
  EXPECT_EQ(getMasks("per_head(causal, all, [0, 1])"),
            "%0 = causal\n%1 = all\n%2 = per_head %0, %1 table = [0, 1]\n");
}

TEST(Expression, OperandsByName) {
  EXPECT_EQ(getMasks("global(index)"), "%0 = global index(%arg3 : tensor<?x?xi32>)\n");
  EXPECT_EQ(getMasks("global(index=summary)"),
            "%0 = global index(%arg3 : tensor<?x?xi32>)\n");
  EXPECT_EQ(getMasks("block_mask(indptr, indices, rows=64, columns=32)"),
            "%0 = block_mask %arg3, %arg4 block = 64 x 32 : tensor<?x?x?xi32>, "
            "tensor<?x?x?xi32>\n");
  EXPECT_EQ(getMasks("block_mask(indptr, indices, bits, 64, 32)"),
            "%0 = block_mask %arg3, %arg4 bits(%arg5 : tensor<?x?x?x?xi8>) block = 64 x "
            "32 : tensor<?x?x?xi32>, tensor<?x?x?xi32>\n");
  EXPECT_EQ(getMasks("graph_hop(o, c, indptr, indices, max_hops=2, directed=true)"),
            getMasks("graph_hop(o, c, indptr, indices, 2, true)"));
}

// The same name is the same argument; arguments come in the order of first use.
TEST(Expression, Signature) {
  KernelSpec spec = makeSpec("prefix(length) | segments(offsets) | prefix(length)",
                             "softcap(30), alibi(slopes)");
  spec.valueDim = 32;
  spec.kvLen = spec.qLen = spec.qOffset = spec.sinks = true;
  EXPECT_EQ(getSignature(spec),
            "func.func @f(%arg0: tensor<?x?x?x64xf32> {sparse_attn.name = \"q\"}, "
            "%arg1: tensor<?x?x?x64xf32> {sparse_attn.name = \"k\"}, "
            "%arg2: tensor<?x?x?x32xf32> {sparse_attn.name = \"v\"}, "
            "%arg3: tensor<?xi32> {sparse_attn.name = \"kv_len\"}, "
            "%arg4: tensor<?xi32> {sparse_attn.name = \"q_len\"}, "
            "%arg5: tensor<?xi32> {sparse_attn.name = \"q_offset\"}, "
            "%arg6: tensor<?xf32> {sparse_attn.name = \"sinks\"}, "
            "%arg7: tensor<?xi32> {sparse_attn.name = \"length\"}, "
            "%arg8: tensor<?x?xi32> {sparse_attn.name = \"offsets\"}, "
            "%arg9: tensor<?xf32> {sparse_attn.name = \"slopes\"}) -> "
            "(tensor<?x?x?x32xf32> {sparse_attn.name = \"out\"}, "
            "tensor<?x?x?xf32> {sparse_attn.name = \"lse\"})");
}

TEST(Expression, TypesAndScale) {
  KernelSpec spec = makeSpec("causal");
  spec.elementType = ElementType::BF16;
  spec.scale = 0.5;
  std::string ir = build(spec).ir;
  EXPECT_NE(ir.find("scale = 5.000000e-01"), std::string::npos) << ir;
  EXPECT_NE(ir.find("%arg0: tensor<?x?x?x64xbf16>"), std::string::npos) << ir;
  EXPECT_NE(ir.find("tensor<?x?x?xf32> {sparse_attn.name = \"lse\"}"), std::string::npos)
      << ir;
}

TEST(Expression, ModifiersInOrder) {
  std::string ir = build(makeSpec("causal", "alibi(slopes), softcap(2.5e1)")).ir;
  size_t alibi = ir.find("%1 = sparse_attn.alibi %arg3");
  size_t softcap = ir.find("%2 = sparse_attn.softcap cap = 2.500000e+01");
  EXPECT_NE(alibi, std::string::npos) << ir;
  EXPECT_NE(softcap, std::string::npos) << ir;
  EXPECT_NE(ir.find("modifiers(%1, %2)"), std::string::npos) << ir;
}

TEST(Expression, BlanksAndComments) {
  EXPECT_EQ(getMasks("  causal # the past\n\t& sink( 4 )  "), getMasks("causal&sink(4)"));
}

// Two kernels of one module need two names.
TEST(Expression, NameIsFree) {
  MLIRContext context;
  loadExpressionDialects(context);
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
  ASSERT_TRUE(succeeded(buildKernel(*module, makeSpec("causal"))));
  std::string message;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    message = diagnostic.str();
    return success();
  });
  EXPECT_TRUE(failed(buildKernel(*module, makeSpec("all"))));
  EXPECT_EQ(message, "there already is a kernel 'f'");
}

// What is built can be written down and read again.
TEST(Expression, RoundTripsAsMlir) {
  for (const char *pattern :
       {"causal & (window(1023, 0) | sink(4))", "~(strided(7) - block_diagonal(64))",
        "per_head([causal, dilated_segment(64, 4)], table=[0, 1])",
        "graph_hop(o, c, p, i) | random_blocks(64, 3, 7) | global(stride=64)"}) {
    std::string ir = build(makeSpec(pattern, "softcap(30.0)")).ir;
    MLIRContext context;
    loadExpressionDialects(context);
    OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(ir, &context);
    ASSERT_TRUE(module) << pattern;
    std::string again;
    llvm::raw_string_ostream os(again);
    module->lookupSymbol("f")->print(os);
    EXPECT_EQ(ir, again);
  }
}

// Every op with the interface can be named, but for those with a region.
TEST(Expression, EveryMaskIsKnown) {
  MLIRContext context;
  loadExpressionDialects(context);
  unsigned count = 0;
  for (RegisteredOperationName name : context.getRegisteredOperations()) {
    if (!name.hasInterface<MaskOpInterface>())
      continue;
    ++count;
    std::string errors = build(makeSpec(name.stripDialect())).errors;
    EXPECT_EQ(errors.find("unknown"), std::string::npos) << errors;
  }
  EXPECT_GT(count, 20u);
}

} // namespace
