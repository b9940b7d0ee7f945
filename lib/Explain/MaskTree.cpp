//===- MaskTree.cpp - a mask in words -------------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Labels come from what every op tells about its parameters; an op of the algebra
// has a sign of its own in expressions, any other one is written as a call.
//
//===----------------------------------------------------------------------===//

#include "MaskTree.h"
#include "dialect/SparseAttn/SparseAttn.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"

using namespace mlir;
using namespace sparse_attn;

StringRef sparse_attn::getBindingName(Binding binding) {
  switch (binding) {
  case Binding::Compile:
    return "compile time";
  case Binding::Plan:
    return "plan time";
  case Binding::Run:
    return "run time";
  }
  llvm_unreachable("every binding time has a name");
}

//===----------------------------------------------------------------------===//
// Labels
//===----------------------------------------------------------------------===//

/// The name of a tensor that a mask reads.
static std::string getTensorName(Value tensor) {
  auto argument = dyn_cast<BlockArgument>(tensor);
  if (!argument)
    return "constant";
  if (auto kernel = dyn_cast<func::FuncOp>(argument.getOwner()->getParentOp()))
    if (auto name =
            kernel.getArgAttrOfType<StringAttr>(argument.getArgNumber(), kNameAttr))
      return name.str();
  return "arg" + std::to_string(argument.getArgNumber());
}

static std::string printParameter(Attribute attribute) {
  std::string text;
  llvm::raw_string_ostream os(text);
  if (auto integer = dyn_cast<IntegerAttr>(attribute);
      integer && !isa<BoolAttr>(attribute))
    os << integer.getInt();
  else if (auto real = dyn_cast<FloatAttr>(attribute))
    os << llvm::format("%.15g", real.getValueAsDouble());
  else if (auto list = dyn_cast<DenseI64ArrayAttr>(attribute))
    os << "["
       << llvm::join(llvm::map_range(list.asArrayRef(),
                                     [](int64_t n) { return std::to_string(n); }),
                     ", ")
       << "]";
  else
    attribute.print(os, /*elideType=*/true);
  // A choice is printed as `#sparse_attn<share group>`: the word is the last.
  StringRef word = text;
  if (word.consume_front("#") && word.consume_back(">"))
    return word.rsplit(' ').second.str();
  return text;
}

/// What a mask or a score takes.
static ArrayRef<ParameterSpec> getParameters(Operation *op) {
  if (auto score = dyn_cast<ScoreOpInterface>(op))
    return score.getParameters();
  return cast<MaskOpInterface>(op).getParameters();
}

/// "window(left = 1023, right = 0)", or "window(1023, 0)" where `brief`: numbers lose
/// their names up to the first that is left out, unless tensors stand before them.
static std::string printCall(Operation *op, bool brief,
                             ArrayRef<std::string> parts = {}) {
  SmallVector<std::string> arguments;
  for (Value operand : op->getOperands())
    if (isa<ScoreType>(operand.getType()))
      arguments.push_back(printCall(operand.getDefiningOp(), brief));
  llvm::append_range(arguments, parts);
  size_t unnamed = arguments.size();
  for (Value operand : op->getOperands())
    if (isa<TensorType>(operand.getType()))
      arguments.push_back(getTensorName(operand));
  bool named = !brief || arguments.size() > unnamed;
  for (const ParameterSpec &parameter : getParameters(op)) {
    if (parameter.kind == ParameterSpec::Mask || parameter.kind == ParameterSpec::Score ||
        parameter.kind == ParameterSpec::Tensor)
      continue;
    Attribute attribute = op->getAttr(parameter.name);
    std::string value = attribute ? printParameter(attribute) : "";
    if (!attribute || value == parameter.otherwise) {
      named = true;
      continue;
    }
    named |=
        parameter.kind == ParameterSpec::Boolean || parameter.kind == ParameterSpec::Word;
    std::string name = named ? parameter.name.str() + " = " : "";
    arguments.push_back(name + value);
  }
  StringRef name = op->getName().stripDialect();
  name.consume_front("score."); // as expressions write it
  std::string text = name.str();
  return arguments.empty() ? text : text + "(" + llvm::join(arguments, ", ") + ")";
}

std::string sparse_attn::printHead(Value mask) {
  return printCall(mask.getDefiningOp(), /*brief=*/false);
}

MaskTree sparse_attn::buildMaskTree(Value mask) {
  Operation *op = mask.getDefiningOp();
  MaskTree tree{printHead(mask), getBinding(mask), {}};
  for (Value operand : op->getOperands())
    if (isa<MaskType>(operand.getType()))
      tree.parts.push_back(buildMaskTree(operand));
  return tree;
}

//===----------------------------------------------------------------------===//
// Expressions
//===----------------------------------------------------------------------===//

namespace {
/// How tightly the outermost sign of an expression binds.
enum Level { Sum, Product, Atom };

struct Text {
  std::string text;
  Level level;
};
} // namespace

static Text printMask(Value mask) {
  Operation *op = mask.getDefiningOp();
  SmallVector<Text> parts;
  for (Value operand : op->getOperands())
    if (isa<MaskType>(operand.getType()))
      parts.push_back(printMask(operand));
  auto at = [&](size_t i, Level least) {
    return parts[i].level < least ? "(" + parts[i].text + ")" : parts[i].text;
  };
  auto fold = [&](StringRef sign, Level level) {
    // The first operand of `-` and `|` may be a sum itself: left to right.
    std::string text = at(0, level);
    for (size_t i = 1; i < parts.size(); ++i)
      text += (" " + sign + " ").str() + at(i, static_cast<Level>(level + 1));
    return Text{text, parts.size() == 1 ? parts[0].level : level};
  };
  if (isa<UnionOp>(op) && !parts.empty())
    return fold("|", Sum);
  if (isa<DifferenceOp>(op))
    return fold("-", Sum);
  if (isa<IntersectOp>(op) && !parts.empty())
    return fold("&", Product);
  if (isa<ComplementOp>(op))
    return {"~" + at(0, Atom), Atom};
  SmallVector<std::string> texts;
  for (const Text &part : parts)
    texts.push_back(part.text);
  return {printCall(op, /*brief=*/true, texts), Atom};
}

std::string sparse_attn::printExpression(Value mask) { return printMask(mask).text; }
