//===- Builder.cpp - syntax tree to ops -----------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Builder.h"
#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/Verifier.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace sparse_attn;
using namespace sparse_attn::expression;
using llvm::StringRef;

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

/// The name closest to `name`, or "" where none is close.
static StringRef closest(StringRef name, ArrayRef<StringRef> known) {
  StringRef best;
  unsigned bestDistance = std::max<size_t>(1, name.size() / 3) + 1;
  for (StringRef candidate : known) {
    unsigned distance =
        name.edit_distance(candidate, /*AllowReplacements=*/true, bestDistance);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/// What the mnemonics of a kind of op begin with; expressions leave it out.
template <typename Interface> static constexpr llvm::StringLiteral kPrefix = "";
template <> constexpr llvm::StringLiteral kPrefix<ScoreOpInterface> = "score.";

template <typename Interface> static std::optional<Callee> describe(OperationName name) {
  std::optional<RegisteredOperationName> info = name.getRegisteredInfo();
  if (!info)
    return std::nullopt;
  auto *interface = info->getInterface<Interface>();
  if (!interface)
    return std::nullopt;
  return Callee{*info, interface->getParameters(), interface->getTensorSpecs(),
                kPrefix<Interface>};
}

template <typename Interface>
static std::optional<Callee> lookup(MLIRContext *context, StringRef name) {
  return describe<Interface>(OperationName(
      (SparseAttnDialect::getDialectNamespace() + "." + kPrefix<Interface> + name).str(),
      context));
}

/// The names of every op that implements the interface, in ascending order.
template <typename Interface>
static SmallVector<StringRef> knownNames(MLIRContext *context) {
  SmallVector<StringRef> names;
  for (RegisteredOperationName name : context->getRegisteredOperations())
    if (name.getDialectNamespace() == SparseAttnDialect::getDialectNamespace() &&
        name.hasInterface<Interface>())
      names.push_back(name.stripDialect().drop_front(kPrefix<Interface>.size()));
  llvm::sort(names);
  return names;
}

/// What to say of a name that is known, in another place than where it was found.
static std::optional<StringRef> getRightPlace(MLIRContext *context, StringRef name) {
  if (lookup<MaskOpInterface>(context, name))
    return "it is a mask: give it in the pattern";
  if (lookup<ModifierOpInterface>(context, name))
    return "it changes scores: give it among the modifiers";
  if (lookup<ScoreOpInterface>(context, name))
    return "it is a score: give it to a selection, such as top_k";
  return std::nullopt;
}

/// "unknown mask 'windw'; did you mean 'window'?" and the names there are.
template <typename Interface>
static void reportUnknown(const Source &source, const Node &node, StringRef what) {
  InFlightDiagnostic diagnostic = source.error(node.offset);
  if (std::optional<StringRef> place = getRightPlace(source.context, node.text)) {
    diagnostic << "'" << node.text << "' is no " << what << "; " << *place;
    return;
  }
  SmallVector<StringRef> names = knownNames<Interface>(source.context);
  diagnostic << "unknown " << what << " '" << node.text << "'";
  if (StringRef guess = closest(node.text, names); !guess.empty())
    diagnostic << "; did you mean '" << guess << "'?";
  diagnostic.attachNote() << what << "s: " << llvm::join(names, ", ");
}

std::string Callee::usage() const {
  SmallVector<std::string> texts;
  for (const ParameterSpec &parameter : parameters) {
    std::string text = parameter.name.str();
    if (parameter.variadic)
      text += "...";
    texts.push_back(parameter.optional ? "[" + text + "]" : text);
  }
  return (mnemonic() + "(" + llvm::join(texts, ", ") + ")").str();
}

/// A value as messages quote it.
static std::string quote(const Node &node) {
  switch (node.kind) {
  case Node::List:
    return "a list";
  case Node::Call:
  case Node::Union:
  case Node::Intersect:
  case Node::Difference:
  case Node::Complement:
    return "a mask expression";
  default:
    return ("'" + node.text + "'").str();
  }
}

//===----------------------------------------------------------------------===//
// Arguments
//===----------------------------------------------------------------------===//

Value Arguments::addOwn(StringRef name, Type type, Location location) {
  reserve(name);
  order.push_back(name.str());
  return block.addArgument(type, location);
}

Value Arguments::getOperand(StringRef name, Type type, Location location) {
  if (own.contains(name)) {
    emitError(location) << "'" << name
                        << "' is a name of the kernel itself; give the operand another "
                           "name";
    return {};
  }
  auto it = operands.find(name);
  if (it == operands.end()) {
    BlockArgument argument = block.addArgument(type, location);
    order.push_back(name.str());
    operands.insert({name, argument});
    return argument;
  }
  if (it->second.getType() != type) {
    InFlightDiagnostic diagnostic = emitError(location);
    diagnostic << "operand '" << name << "' must be " << type << " here, but it is "
               << it->second.getType() << " elsewhere; use two names";
    diagnostic.attachNote(it->second.getLoc()) << "its first use is here";
    return {};
  }
  return it->second;
}

//===----------------------------------------------------------------------===//
// Masks and modifiers
//===----------------------------------------------------------------------===//

Value ExpressionBuilder::buildMask(const Node &node) {
  switch (node.kind) {
  case Node::Union:
    return buildOperator(UnionOp::getOperationName(), node);
  case Node::Intersect:
    return buildOperator(IntersectOp::getOperationName(), node);
  case Node::Difference:
    return buildOperator(DifferenceOp::getOperationName(), node);
  case Node::Complement:
    return buildOperator(ComplementOp::getOperationName(), node);
  case Node::Name:
  case Node::Call:
    if (std::optional<Callee> callee = lookup<MaskOpInterface>(source.context, node.text))
      return buildCall(*callee, node);
    reportUnknown<MaskOpInterface>(source, node, "mask");
    return {};
  case Node::Number:
  case Node::Boolean:
  case Node::Unbounded:
  case Node::List:
    source.error(node.offset) << "expected a mask, got " << quote(node);
    return {};
  }
  llvm_unreachable("every kind of node is handled");
}

Value ExpressionBuilder::buildScore(const Node &node) {
  if (node.kind != Node::Name && node.kind != Node::Call) {
    source.error(node.offset) << "expected a score, such as 'dot', got " << quote(node);
    return {};
  }
  if (std::optional<Callee> callee = lookup<ScoreOpInterface>(source.context, node.text))
    return buildCall(*callee, node);
  reportUnknown<ScoreOpInterface>(source, node, "score");
  return {};
}

FailureOr<SmallVector<Value>> ExpressionBuilder::buildModifiers(const Node &list) {
  SmallVector<Value> modifiers;
  for (const Argument &item : list.arguments) {
    const Node &node = *item.value;
    std::optional<Callee> callee = lookup<ModifierOpInterface>(source.context, node.text);
    if (!callee) {
      reportUnknown<ModifierOpInterface>(source, node, "score modifier");
      return failure();
    }
    Value modifier = buildCall(*callee, node);
    if (!modifier)
      return failure();
    modifiers.push_back(modifier);
  }
  return modifiers;
}

Value ExpressionBuilder::buildOperator(StringRef opName, const Node &node) {
  OperationState state(source.locate(node.offset), opName);
  for (const Argument &argument : node.arguments) {
    Value mask = buildMask(*argument.value);
    if (!mask)
      return {};
    state.operands.push_back(mask);
  }
  return create(state);
}

Value ExpressionBuilder::create(OperationState &state) {
  auto *inference = state.name.getInterface<InferTypeOpInterface>();
  if (!inference ||
      failed(inference->inferReturnTypes(source.context, state.location, state.operands,
                                         state.attributes.getDictionary(source.context),
                                         state.getRawProperties(), {}, state.types)))
    return emitError(state.location)
               << "cannot tell the result type of '" << state.name << "'",
           Value();
  Operation *op = builder.create(state);
  // A verifier's complaint points at the op's place in the expression.
  if (failed(verify(op)))
    return {};
  return op->getResult(0);
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

static bool isOperand(const ParameterSpec &parameter) {
  return parameter.kind == ParameterSpec::Tensor ||
         parameter.kind == ParameterSpec::Mask || parameter.kind == ParameterSpec::Score;
}

Value ExpressionBuilder::buildCall(const Callee &callee, const Node &node) {
  if (!callee.name.hasTrait<OpTrait::ZeroRegions>()) {
    source.error(node.offset) << "'" << callee.mnemonic()
                              << "' has a region, which an expression cannot hold; "
                                 "write the kernel in a .mlir file";
    return {};
  }
  FailureOr<Slots> slots = assign(callee, node);
  if (failed(slots))
    return {};
  OperationState state(source.locate(node.offset), callee.name);
  SmallVector<int32_t> segments;
  for (auto [index, parameter] : llvm::enumerate(callee.parameters)) {
    ArrayRef<const Node *> values = (*slots)[index];
    if (!isOperand(parameter)) {
      if (!values.empty() &&
          failed(addAttribute(callee, parameter, *values.front(), state)))
        return {};
      continue;
    }
    size_t before = state.operands.size();
    if (failed(addOperand(callee, index, values, state)))
      return {};
    segments.push_back(state.operands.size() - before);
  }
  if (callee.name.hasTrait<OpTrait::AttrSizedOperandSegments>())
    state.addAttribute("operandSegmentSizes", builder.getDenseI32ArrayAttr(segments));
  return create(state);
}

FailureOr<size_t> ExpressionBuilder::assignNamed(const Callee &callee,
                                                 const Argument &argument) {
  const auto *it = llvm::find_if(callee.parameters, [&](const ParameterSpec &parameter) {
    return parameter.name == argument.name;
  });
  if (it != callee.parameters.end())
    return it - callee.parameters.begin();
  SmallVector<StringRef> names;
  for (const ParameterSpec &parameter : callee.parameters)
    names.push_back(parameter.name);
  InFlightDiagnostic diagnostic = source.error(argument.offset);
  diagnostic << "'" << callee.mnemonic() << "' has no parameter '" << argument.name
             << "'; ";
  if (StringRef guess = closest(argument.name, names); !guess.empty())
    diagnostic << "did you mean '" << guess << "'?";
  else
    diagnostic << "write " << callee.usage();
  return failure();
}

FailureOr<size_t> ExpressionBuilder::assignNext(const Callee &callee, const Slots &slots,
                                                const Node &value) {
  // A list fills an operand where it lists masks.
  bool operand =
      value.isExpression() || (value.kind == Node::List && !value.arguments.empty() &&
                               value.arguments.front().value->isExpression());
  for (auto [index, parameter] : llvm::enumerate(callee.parameters))
    if (isOperand(parameter) == operand && (slots[index].empty() || parameter.variadic))
      return index;
  return source.error(value.offset)
         << "no parameter of '" << callee.mnemonic() << "' takes " << quote(value)
         << "; write " << callee.usage();
}

FailureOr<ExpressionBuilder::Slots> ExpressionBuilder::assign(const Callee &callee,
                                                              const Node &node) {
  Slots slots(callee.parameters.size());
  bool named = false;
  for (const Argument &argument : node.arguments) {
    const Node &value = *argument.value;
    if (argument.name.empty() && named)
      return source.error(argument.offset)
             << "a value without a name cannot follow one with a name; write "
             << callee.usage();
    named |= !argument.name.empty();
    FailureOr<size_t> slot =
        named ? assignNamed(callee, argument) : assignNext(callee, slots, value);
    if (failed(slot))
      return failure();
    const ParameterSpec &parameter = callee.parameters[*slot];
    if (named && !slots[*slot].empty())
      return source.error(argument.offset) << "'" << parameter.name << "' is given twice";
    if (parameter.variadic && value.kind == Node::List) {
      for (const Argument &element : value.arguments)
        slots[*slot].push_back(element.value.get());
      continue;
    }
    slots[*slot].push_back(&value);
  }
  for (auto [index, parameter] : llvm::enumerate(callee.parameters))
    if (slots[index].empty() && !parameter.optional && !parameter.variadic)
      return source.error(node.offset) << "'" << callee.mnemonic() << "' needs '"
                                       << parameter.name << "'; write " << callee.usage();
  return slots;
}

LogicalResult ExpressionBuilder::addOperand(const Callee &callee, size_t parameter,
                                            ArrayRef<const Node *> values,
                                            OperationState &state) {
  const ParameterSpec &spec = callee.parameters[parameter];
  if (spec.kind == ParameterSpec::Mask) {
    for (const Node *value : values) {
      Value mask = buildMask(*value);
      if (!mask)
        return failure();
      state.operands.push_back(mask);
    }
    return success();
  }
  if (values.empty())
    return success();
  const Node &value = *values.front();
  if (spec.kind == ParameterSpec::Score) {
    Value score = buildScore(value);
    if (score)
      state.operands.push_back(score);
    return success(score != nullptr);
  }
  if (value.kind != Node::Name || value.text.contains('.'))
    return source.error(value.offset)
           << "'" << spec.name << "' of '" << callee.mnemonic()
           << "' must be the name of an operand, got " << quote(value);
  // The interface describes tensors in the order of the operands.
  size_t ordinal = llvm::count_if(
      callee.parameters.take_front(parameter),
      [](const ParameterSpec &other) { return other.kind == ParameterSpec::Tensor; });
  if (ordinal >= callee.tensors.size())
    return source.error(value.offset)
           << "'" << callee.mnemonic() << "' does not describe its operand '" << spec.name
           << "'; write the kernel in a .mlir file";
  const TensorSpec &tensor = callee.tensors[ordinal];
  Type element = tensor.isFloat ? Type(builder.getF32Type())
                                : Type(builder.getIntegerType(tensor.elementBits));
  SmallVector<int64_t> sizes(tensor.rank, ShapedType::kDynamic);
  Value operand = arguments.getOperand(value.text, RankedTensorType::get(sizes, element),
                                       source.locate(value.offset));
  if (!operand)
    return failure();
  state.operands.push_back(operand);
  return success();
}

LogicalResult ExpressionBuilder::addAttribute(const Callee &callee,
                                              const ParameterSpec &parameter,
                                              const Node &value, OperationState &state) {
  // An optional bound is unbounded where the op has no attribute for it.
  if (value.kind == Node::Unbounded && parameter.optional &&
      parameter.kind == ParameterSpec::Integer)
    return success();
  Attribute attribute = buildAttribute(callee, parameter, value);
  if (!attribute)
    return failure();
  state.addAttribute(parameter.name, attribute);
  return success();
}

/// "none or group", "relu, silu or gelu".
static std::string listWords(ArrayRef<StringRef> words) {
  std::string text = llvm::join(words.drop_back(), ", ");
  return (text + (words.size() > 1 ? " or " : "") + words.back()).str();
}

static std::optional<int64_t> getInteger(const Node &value) {
  int64_t number;
  if (value.kind != Node::Number || value.text.getAsInteger(10, number))
    return std::nullopt;
  return number;
}

static std::optional<SmallVector<int64_t>> getIntegers(const Node &value) {
  if (value.kind != Node::List)
    return std::nullopt;
  SmallVector<int64_t> numbers;
  for (const Argument &element : value.arguments) {
    std::optional<int64_t> number = getInteger(*element.value);
    if (!number)
      return std::nullopt;
    numbers.push_back(*number);
  }
  return numbers;
}

Attribute ExpressionBuilder::buildAttribute(const Callee &callee,
                                            const ParameterSpec &parameter,
                                            const Node &value) {
  std::string wanted;
  switch (parameter.kind) {
  case ParameterSpec::Integer:
    if (std::optional<int64_t> number = getInteger(value))
      return builder.getI64IntegerAttr(*number);
    wanted = parameter.optional ? "a 64-bit integer or unbounded" : "a 64-bit integer";
    break;
  case ParameterSpec::Real:
    if (double number; value.kind == Node::Number && !value.text.getAsDouble(number))
      return builder.getF64FloatAttr(number);
    wanted = "a number";
    break;
  case ParameterSpec::Boolean:
    if (value.kind == Node::Boolean)
      return builder.getBoolAttr(value.text == "true");
    wanted = "true or false";
    break;
  case ParameterSpec::IntegerList:
    if (std::optional<SmallVector<int64_t>> numbers = getIntegers(value))
      return builder.getDenseI64ArrayAttr(*numbers);
    wanted = "a list of integers, such as [0, 1]";
    break;
  case ParameterSpec::Word: {
    SmallVector<StringRef> words;
    parameter.words.split(words, ' ');
    if (value.kind == Node::Name && llvm::is_contained(words, value.text))
      return parseAttribute(("#" + SparseAttnDialect::getDialectNamespace() + "<" +
                             parameter.mnemonic + " " + value.text + ">")
                                .str(),
                            source.context);
    wanted = listWords(words);
    break;
  }
  case ParameterSpec::Tensor:
  case ParameterSpec::Mask:
  case ParameterSpec::Score:
    llvm_unreachable("operands are no attributes");
  }
  source.error(value.offset) << "'" << parameter.name << "' of '" << callee.mnemonic()
                             << "' must be " << wanted << ", got " << quote(value);
  return {};
}
