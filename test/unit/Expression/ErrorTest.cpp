//===- ErrorTest.cpp - mistakes in expressions, as a user sees them -------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Whole texts: the position, the message, the line and the caret under the spot.
//
//===----------------------------------------------------------------------===//

#include "ExpressionTesting.h"
#include <random>

using namespace sparse_attn;

namespace {

std::string errorsOf(llvm::StringRef pattern, llvm::StringRef modifiers = "") {
  return build(makeSpec(pattern, modifiers)).errors;
}

/// The error alone, without the list of names that follows it.
std::string firstError(llvm::StringRef pattern, llvm::StringRef modifiers = "") {
  std::string errors = errorsOf(pattern, modifiers);
  std::string note =
      llvm::StringRef(errors).contains("<modifiers>") ? "<modifiers>:1:" : "<pattern>:1:";
  size_t end = errors.find("\n" + note);
  return end == std::string::npos ? errors : errors.substr(0, end + 1);
}

//===--- Names ------------------------------------------------------------===//

TEST(ExpressionErrors, UnknownMask) {
  EXPECT_EQ(firstError("causal & windw(3)"),
            R"(<pattern>:1:10: error: unknown mask 'windw'; did you mean 'window'?
causal & windw(3)
         ^
)");
  std::string errors = errorsOf("zzzzzz");
  EXPECT_EQ(errors.find("did you mean"), std::string::npos) << errors;
  EXPECT_NE(errors.find("note: masks: all, block_diagonal, block_mask, causal, "),
            std::string::npos)
      << errors;
}

TEST(ExpressionErrors, UnknownModifier) {
  EXPECT_EQ(
      errorsOf("causal", "softcp(3.0)"),
      R"(<modifiers>:1:1: error: unknown score modifier 'softcp'; did you mean 'softcap'?
softcp(3.0)
^
<modifiers>:1:1: note: score modifiers: alibi, bias, custom_score, hop_decay, relative_bias, softcap
)");
}

TEST(ExpressionErrors, MaskAmongModifiers) {
  EXPECT_EQ(
      errorsOf("causal", "sink(4)"),
      R"(<modifiers>:1:1: error: 'sink' is no score modifier; it is a mask: give it in the pattern
sink(4)
^
)");
  EXPECT_EQ(
      errorsOf("softcap(3.0)"),
      R"(<pattern>:1:1: error: 'softcap' is no mask; it changes scores: give it among the modifiers
softcap(3.0)
^
)");
}

TEST(ExpressionErrors, UnknownParameter) {
  EXPECT_EQ(errorsOf("window(lft=3)"),
            R"(<pattern>:1:8: error: 'window' has no parameter 'lft'; did you mean 'left'?
window(lft=3)
       ^
)");
  EXPECT_EQ(
      errorsOf("window(before=3)"),
      R"(<pattern>:1:8: error: 'window' has no parameter 'before'; write window([left], [right])
window(before=3)
       ^
)");
}

TEST(ExpressionErrors, Region) {
  EXPECT_EQ(
      errorsOf("custom"),
      R"(<pattern>:1:1: error: 'custom' has a region, which an expression cannot hold; write the kernel in a .mlir file
custom
^
)");
}

TEST(ExpressionErrors, Scores) {
  EXPECT_EQ(firstError("top_k(dott, causal, 3)"),
            R"(<pattern>:1:7: error: unknown score 'dott'; did you mean 'dot'?
top_k(dott, causal, 3)
      ^
)");
  EXPECT_EQ(
      firstError("causal & dot"),
      R"(<pattern>:1:10: error: 'dot' is no mask; it is a score: give it to a selection, such as top_k
causal & dot
         ^
)");
  EXPECT_EQ(
      firstError("top_k(causal, causal, 3)"),
      R"(<pattern>:1:7: error: 'causal' is no score; it is a mask: give it in the pattern
top_k(causal, causal, 3)
      ^
)");
  EXPECT_EQ(
      firstError("top_k(~causal, causal, 3)"),
      R"(<pattern>:1:7: error: expected a score, such as 'dot', got a mask expression
top_k(~causal, causal, 3)
      ^
)");
  EXPECT_EQ(firstError("top_k(dot(share=all), causal, 3)"),
            R"(<pattern>:1:17: error: 'share' of 'dot' must be none or group, got 'all'
top_k(dot(share=all), causal, 3)
                ^
)");
  EXPECT_EQ(
      firstError("top_k(hash(w.q, wk, [32]), causal, 3)"),
      R"(<pattern>:1:12: error: 'query_weights' of 'hash' must be the name of an operand, got 'w.q'
top_k(hash(w.q, wk, [32]), causal, 3)
           ^
)");
}

//===--- Arguments --------------------------------------------------------===//

TEST(ExpressionErrors, MissingArgument) {
  EXPECT_EQ(errorsOf("causal & sink"),
            R"(<pattern>:1:10: error: 'sink' needs 'size'; write sink(size)
causal & sink
         ^
)");
  EXPECT_EQ(
      errorsOf("graph_hop(a, b)"),
      R"(<pattern>:1:1: error: 'graph_hop' needs 'indptr'; write graph_hop(offsets, chunk_node, indptr, indices, [max_hops], [directed])
graph_hop(a, b)
^
)");
  EXPECT_EQ(errorsOf("difference(causal)"),
            R"(<pattern>:1:1: error: 'difference' needs 'rhs'; write difference(lhs, rhs)
difference(causal)
^
)");
}

TEST(ExpressionErrors, ExtraArgument) {
  EXPECT_EQ(
      errorsOf("window(1, 2, 3)"),
      R"(<pattern>:1:14: error: no parameter of 'window' takes '3'; write window([left], [right])
window(1, 2, 3)
             ^
)");
  EXPECT_EQ(
      errorsOf("causal(causal)"),
      R"(<pattern>:1:8: error: no parameter of 'causal' takes 'causal'; write causal()
causal(causal)
       ^
)");
  EXPECT_EQ(
      errorsOf("segments(3)"),
      R"(<pattern>:1:10: error: no parameter of 'segments' takes '3'; write segments(offsets)
segments(3)
         ^
)");
  EXPECT_EQ(errorsOf("sink(n)"),
            R"(<pattern>:1:6: error: no parameter of 'sink' takes 'n'; write sink(size)
sink(n)
     ^
)");
}

TEST(ExpressionErrors, ArgumentTwice) {
  EXPECT_EQ(errorsOf("window(3, left=4)"), R"(<pattern>:1:11: error: 'left' is given twice
window(3, left=4)
          ^
)");
}

TEST(ExpressionErrors, PositionAfterName) {
  EXPECT_EQ(
      errorsOf("window(left=3, 4)"),
      R"(<pattern>:1:16: error: a value without a name cannot follow one with a name; write window([left], [right])
window(left=3, 4)
               ^
)");
}

TEST(ExpressionErrors, KindsOfValues) {
  EXPECT_EQ(errorsOf("sink(size=1e3)"),
            R"(<pattern>:1:11: error: 'size' of 'sink' must be a 64-bit integer, got '1e3'
sink(size=1e3)
          ^
)");
  EXPECT_EQ(
      errorsOf("sink(99999999999999999999)"),
      R"(<pattern>:1:6: error: 'size' of 'sink' must be a 64-bit integer, got '99999999999999999999'
sink(99999999999999999999)
     ^
)");
  EXPECT_EQ(
      errorsOf("sink(unbounded)"),
      R"(<pattern>:1:6: error: 'size' of 'sink' must be a 64-bit integer, got 'unbounded'
sink(unbounded)
     ^
)");
  EXPECT_EQ(
      errorsOf("window(true)"),
      R"(<pattern>:1:8: error: 'left' of 'window' must be a 64-bit integer or unbounded, got 'true'
window(true)
       ^
)");
  EXPECT_EQ(
      errorsOf("graph_hop(a, b, c, d, directed=1)"),
      R"(<pattern>:1:32: error: 'directed' of 'graph_hop' must be true or false, got '1'
graph_hop(a, b, c, d, directed=1)
                               ^
)");
  EXPECT_EQ(
      errorsOf("global(positions=3)"),
      R"(<pattern>:1:18: error: 'positions' of 'global' must be a list of integers, such as [0, 1], got '3'
global(positions=3)
                 ^
)");
  EXPECT_EQ(
      errorsOf("segments(sink(4))"),
      R"(<pattern>:1:10: error: 'offsets' of 'segments' must be the name of an operand, got a mask expression
segments(sink(4))
         ^
)");
  EXPECT_EQ(errorsOf("causal", "softcap(cap=[1])"),
            R"(<modifiers>:1:13: error: 'cap' of 'softcap' must be a number, got a list
softcap(cap=[1])
            ^
)");
  EXPECT_EQ(errorsOf("difference(lhs=3, rhs=causal)"),
            R"(<pattern>:1:16: error: expected a mask, got '3'
difference(lhs=3, rhs=causal)
               ^
)");
}

TEST(ExpressionErrors, NamesOfOperands) {
  EXPECT_EQ(
      errorsOf("segments(q)"),
      R"(<pattern>:1:10: error: 'q' is a name of the kernel itself; give the operand another name
segments(q)
         ^
)");
  EXPECT_EQ(
      errorsOf("prefix(kv_len)"),
      R"(<pattern>:1:8: error: 'kv_len' is a name of the kernel itself; give the operand another name
prefix(kv_len)
       ^
)");
  EXPECT_EQ(
      errorsOf("segments(x) | prefix(x)"),
      R"(<pattern>:1:22: error: operand 'x' must be 'tensor<?xi32>' here, but it is 'tensor<?x?xi32>' elsewhere; use two names
segments(x) | prefix(x)
                     ^
<pattern>:1:10: note: its first use is here
segments(x) | prefix(x)
         ^
)");
}

// A pattern's operand belongs to the plan, a table of floats to the run.
TEST(ExpressionErrors, OperandOfPatternAndModifier) {
  EXPECT_EQ(
      errorsOf("prefix(x)", "alibi(x)"),
      R"(<modifiers>:1:7: error: operand 'x' must be 'tensor<?xf32>' here, but it is 'tensor<?xi32>' elsewhere; use two names
alibi(x)
      ^
<pattern>:1:8: note: its first use is here
prefix(x)
       ^
)");
}

//===--- Syntax -----------------------------------------------------------===//

TEST(ExpressionErrors, Syntax) {
  EXPECT_EQ(
      errorsOf("causal causal"),
      R"(<pattern>:1:8: error: expected an operator ('|', '&' or '-') or the end of the expression, got 'causal'
causal causal
       ^
)");
  EXPECT_EQ(errorsOf("causal &"),
            R"(<pattern>:1:9: error: expected a mask, got the end of the expression
causal &
        ^
)");
  EXPECT_EQ(errorsOf("| causal"), R"(<pattern>:1:1: error: expected a mask, got '|'
| causal
^
)");
  EXPECT_EQ(
      errorsOf("causal $ sink(4)"),
      R"(<pattern>:1:8: error: expected an operator ('|', '&' or '-') or the end of the expression, got '$'
causal $ sink(4)
       ^
)");
  EXPECT_EQ(errorsOf("sink(4"),
            R"(<pattern>:1:7: error: expected ',' or ')', got the end of the expression
sink(4
      ^
)");
  EXPECT_EQ(errorsOf("sink(size=)"), R"(<pattern>:1:11: error: expected a value, got ')'
sink(size=)
          ^
)");
  EXPECT_EQ(errorsOf("window(- 3)"),
            R"(<pattern>:1:8: error: write the sign next to its number: -3
window(- 3)
       ^
)");
  EXPECT_EQ(errorsOf("causal", "softcap(30.0) alibi(s)"),
            R"(<modifiers>:1:15: error: expected ',' or the end of the list, got 'alibi'
softcap(30.0) alibi(s)
              ^
)");
}

TEST(ExpressionErrors, UnclosedBracketShowsBoth) {
  EXPECT_EQ(errorsOf("(causal & sink(4)"),
            R"(<pattern>:1:18: error: expected ')', got the end of the expression
(causal & sink(4)
                 ^
<pattern>:1:1: note: to close this '('
(causal & sink(4)
^
)");
}

TEST(ExpressionErrors, Empty) {
  EXPECT_EQ(errorsOf(""), "<pattern>:1:1: error: expected a mask, such as 'causal', got "
                          "the end of the expression\n\n^\n");
}

TEST(ExpressionErrors, LaterLines) {
  EXPECT_EQ(firstError("causal &\n  sink(4, 5)"),
            R"(<pattern>:2:11: error: no parameter of 'sink' takes '5'; write sink(size)
  sink(4, 5)
          ^
)");
}

// No text exhausts the stack.
TEST(ExpressionErrors, Depth) {
  std::string brackets(100000, '('), signs(100000, '~');
  std::string calls, chain = "causal";
  for (int i = 0; i < 10000; ++i) {
    calls += "union(";
    chain += "-causal|causal";
  }
  for (const std::string &deep : {brackets, signs + "causal", calls, chain}) {
    std::string errors = errorsOf(deep);
    EXPECT_NE(errors.find("nested deeper than 200 levels"), std::string::npos);
  }
  // Many operands of one operator are not deep.
  std::string flat = "causal";
  for (int i = 0; i < 5000; ++i)
    flat += "|causal";
  EXPECT_EQ(errorsOf(flat), "");
}

// Any sequence of tokens is a kernel or an error that points somewhere.
TEST(ExpressionErrors, AnyTextIsAnswered) {
  static constexpr llvm::StringRef tokens[] = {
      "causal",    "window", "sink", "per_head", "graph_hop", "global", "x",   "y",
      "left",      "(",      ")",    "[",        "]",         ",",      "=",   "|",
      "&",         "-",      "~",    "3",        "-1",        "1e9",    "0.5", "true",
      "unbounded", "#",      "\n",   "\xff",     "$",         "softcap"};
  std::minstd_rand random(7);
  unsigned kernels = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string text;
    for (unsigned n = random() % 12; n > 0; --n)
      text += tokens[random() % std::size(tokens)].str() + " ";
    for (bool modifiers : {false, true}) {
      Built built = modifiers ? build(makeSpec("causal", text)) : build(makeSpec(text));
      kernels += built.errors.empty();
      EXPECT_EQ(built.ir.empty(), !built.errors.empty()) << text;
      if (!built.errors.empty())
        EXPECT_TRUE(llvm::StringRef(built.errors)
                        .starts_with(modifiers ? "<modifiers>:" : "<pattern>:"))
            << text << '\n'
            << built.errors;
    }
  }
  EXPECT_GT(kernels, 0u);
}

//===--- Verifiers --------------------------------------------------------===//

// What the op itself rejects is told at its place in the expression.
TEST(ExpressionErrors, VerifierPointsAtTheOp) {
  std::string errors = errorsOf("causal & window(-1)");
  EXPECT_EQ(errors.find("<pattern>:1:10: error: 'sparse_attn.window' op left must be"),
            0u)
      << errors;
  EXPECT_NE(errors.find("causal & window(-1)\n         ^\n"), std::string::npos)
      << errors;
}

TEST(ExpressionErrors, AttentionRejectsSizes) {
  KernelSpec spec = makeSpec("causal");
  spec.headDim = 3;
  std::string errors = build(spec).errors;
  EXPECT_NE(errors.find("<pattern>:1:1: error: 'sparse_attn.attention' op"),
            std::string::npos)
      << errors;
}

} // namespace
