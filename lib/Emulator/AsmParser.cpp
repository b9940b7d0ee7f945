//===- AsmParser.cpp - the text of inline PTX -----------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AsmParser.h"
#include "llvm/ADT/StringExtras.h"

using namespace llvm;
using namespace sparse_attn::emulator;

namespace {

class Parser {
public:
  explicit Parser(StringRef text) : rest(text) {}

  Expected<std::vector<AsmStatement>> parse();

private:
  void skipSpace();
  bool consume(StringRef token) {
    skipSpace();
    return rest.consume_front(token);
  }
  Error expected(const Twine &what) {
    return createStringError("inline assembly: expected " + what + " before '" +
                             rest.take_front(30) + "'");
  }
  std::string parseWord();
  Expected<AsmOperand> parseOperand();
  Expected<AsmOperand> parsePrimary();
  Error parseStatement(std::vector<AsmStatement> &result);
  Error parseRegisters(std::vector<AsmStatement> &result);

  StringRef rest;
};

} // namespace

void Parser::skipSpace() {
  while (true) {
    rest = rest.ltrim();
    if (rest.starts_with("//"))
      rest = rest.substr(std::min(rest.find('\n'), rest.size()));
    else if (rest.starts_with("/*"))
      rest = rest.substr(std::min(rest.find("*/"), rest.size() - 2) + 2);
    else
      return;
  }
}

/// Names, with dots and `::` inside; `${:uid}` is part of a name.
std::string Parser::parseWord() {
  skipSpace();
  std::string word;
  while (!rest.empty()) {
    char c = rest.front();
    if (isAlnum(c) || c == '_' || c == '.' || c == '%') {
      word += c;
      rest = rest.drop_front();
    } else if (rest.starts_with("::")) {
      word += "::";
      rest = rest.drop_front(2);
    } else if (rest.consume_front("${:uid}")) {
      word += "uid";
    } else if (rest.consume_front("$$")) {
      word += '$';
    } else {
      break;
    }
  }
  return word;
}

Expected<AsmOperand> Parser::parsePrimary() {
  AsmOperand operand;
  if (consume("{")) {
    operand.kind = AsmOperand::List;
    while (!consume("}")) {
      Expected<AsmOperand> part = parseOperand();
      if (!part)
        return part.takeError();
      operand.parts.push_back(std::move(*part));
      consume(",");
      if (rest.empty())
        return expected("'}'");
    }
    return operand;
  }
  if (consume("[")) {
    operand.kind = AsmOperand::Address;
    Expected<AsmOperand> base = parseOperand();
    if (!base)
      return base.takeError();
    operand.parts.push_back(std::move(*base));
    if (consume("+")) {
      Expected<AsmOperand> offset = parsePrimary();
      if (!offset)
        return offset.takeError();
      if (offset->kind != AsmOperand::Immediate)
        return expected("a number");
      operand.number = offset->number;
    }
    while (consume(",")) {
      Expected<AsmOperand> part = parseOperand();
      if (!part)
        return part.takeError();
      operand.parts.push_back(std::move(*part));
    }
    if (!consume("]"))
      return expected("']'");
    return operand;
  }
  if (consume("!")) {
    Expected<AsmOperand> inner = parsePrimary();
    if (inner)
      inner->negated = !inner->negated;
    return inner;
  }
  bool negative = consume("-");
  skipSpace();
  if (!rest.empty() && isDigit(rest.front())) {
    operand.kind = AsmOperand::Immediate;
    if (rest.starts_with_insensitive("0f") && rest.size() >= 10 &&
        !rest.substr(2, 8).getAsInteger(16, operand.number)) {
      rest = rest.drop_front(10);
      return operand;
    }
    if (rest.consumeInteger(0, operand.number))
      return expected("a number");
    rest.consume_front("U");
    if (negative)
      operand.number = -operand.number;
    return operand;
  }
  if (!rest.starts_with("$$") && !rest.starts_with("${:") && consume("$")) {
    operand.kind = AsmOperand::Argument;
    bool braces = rest.consume_front("{");
    if (rest.consumeInteger(10, operand.number))
      return expected("the number of an operand");
    if (braces) { // A modifier after a colon does not matter.
      size_t end = rest.find('}');
      if (end == StringRef::npos)
        return expected("'}'");
      rest = rest.drop_front(end + 1);
    }
    return operand;
  }
  operand.name = parseWord();
  if (operand.name.empty())
    return expected("an operand");
  operand.kind = operand.name == "_" ? AsmOperand::Sink : AsmOperand::Name;
  return operand;
}

Expected<AsmOperand> Parser::parseOperand() {
  Expected<AsmOperand> operand = parsePrimary();
  if (!operand || !consume("|"))
    return operand;
  Expected<AsmOperand> second = parsePrimary();
  if (!second)
    return second;
  operand->parts.push_back(std::move(*second));
  return operand;
}

/// `.reg .b32 a, b;`
Error Parser::parseRegisters(std::vector<AsmStatement> &result) {
  std::string type = parseWord();
  do {
    AsmStatement statement;
    statement.kind = AsmStatement::Register;
    statement.opcode = StringRef(type).ltrim('.').str();
    statement.text = parseWord();
    if (statement.text.empty())
      return expected("the name of a register");
    if (consume("<"))
      return createStringError("inline assembly: register ranges are not known");
    result.push_back(std::move(statement));
  } while (consume(","));
  return consume(";") ? Error::success() : expected("';'");
}

Error Parser::parseStatement(std::vector<AsmStatement> &result) {
  StringRef begin = rest;
  AsmStatement statement;
  if (consume("@")) {
    Expected<AsmOperand> guard = parsePrimary();
    if (!guard)
      return guard.takeError();
    statement.guard.push_back(std::move(*guard));
  }
  statement.opcode = parseWord();
  if (statement.opcode.empty())
    return expected("an instruction");
  if (statement.guard.empty() && consume(":")) {
    statement.kind = AsmStatement::Label;
    result.push_back(std::move(statement));
    return Error::success();
  }
  if (statement.opcode == ".reg")
    return parseRegisters(result);
  if (statement.opcode.front() == '.')
    return createStringError("inline assembly: the directive '" + statement.opcode +
                             "' is not known");
  SmallVector<StringRef, 8> parts;
  StringRef(statement.opcode).split(parts, '.');
  for (StringRef part : parts)
    statement.parts.push_back(part.str());
  while (!consume(";")) {
    if (rest.empty()) // The last statement may go without.
      break;
    Expected<AsmOperand> operand = parseOperand();
    if (!operand)
      return operand.takeError();
    statement.operands.push_back(std::move(*operand));
    consume(",");
    if (rest.starts_with("}"))
      return expected("';'");
  }
  statement.text = begin.take_front(begin.size() - rest.size()).trim(" \t\r\n;").str();
  result.push_back(std::move(statement));
  return Error::success();
}

Expected<std::vector<AsmStatement>> Parser::parse() {
  std::vector<AsmStatement> result;
  while (true) {
    skipSpace();
    if (rest.empty())
      return result;
    // Blocks only hide names, which are not used twice with different meanings.
    if (consume("{") || consume("}") || consume(";"))
      continue;
    if (Error error = parseStatement(result))
      return std::move(error);
  }
}

Expected<std::vector<AsmStatement>> sparse_attn::emulator::parseAsm(StringRef text) {
  return Parser(text).parse();
}
