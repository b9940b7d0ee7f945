//===- Parser.cpp - text to syntax tree -----------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Recursive descent over the grammar of Expression.h.
//
//===----------------------------------------------------------------------===//

#include "Syntax.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"

using namespace mlir;
using namespace sparse_attn::expression;
using llvm::StringRef;

/// Trees are walked by recursion, so a bound keeps any text from exhausting the
/// stack.
static constexpr unsigned kMaximumDepth = 200;

Location Source::locate(size_t offset) const {
  StringRef before = text.take_front(offset);
  size_t line = before.count('\n') + 1;
  size_t lineStart = before.rfind('\n');
  size_t column = lineStart == StringRef::npos ? offset : offset - lineStart - 1;
  return FileLineColLoc::get(context, buffer, line, column + 1);
}

//===----------------------------------------------------------------------===//
// Tokens
//===----------------------------------------------------------------------===//

namespace {
struct Token {
  enum Kind { Name, Number, Punctuation, End, Invalid };
  Kind kind;
  StringRef text;
  size_t offset;

  bool is(char c) const { return kind == Punctuation && text[0] == c; }
};

class Lexer {
public:
  explicit Lexer(StringRef text) : text(text) {}

  Token next() {
    skipBlanks();
    if (position == text.size())
      return {Token::End, "", position};
    char c = text[position];
    if (llvm::isAlpha(c) || c == '_')
      return takeName();
    if (startsNumber())
      return takeNumber();
    if (StringRef("|&-~(),=[]").contains(c))
      return {Token::Punctuation, text.substr(position++, 1), position - 1};
    return take(Token::Invalid, [](char c) { return false; });
  }

private:
  void skipBlanks() {
    while (position < text.size()) {
      if (text[position] == '#')
        position = std::min(text.find('\n', position), text.size());
      else if (llvm::isSpace(text[position]))
        ++position;
      else
        return;
    }
  }

  /// Words of letters, digits and `_`, with points between them: `sample.uniform`.
  Token takeName() {
    auto belongs = [](char c) { return llvm::isAlnum(c) || c == '_'; };
    Token name = take(Token::Name, belongs);
    while (position + 1 < text.size() && text[position] == '.' &&
           (llvm::isAlpha(text[position + 1]) || text[position + 1] == '_'))
      take(Token::Name, belongs);
    name.text = text.slice(name.offset, position);
    return name;
  }

  bool startsNumber() const {
    StringRef rest = text.drop_front(position);
    rest.consume_front(".");
    return !rest.empty() && llvm::isDigit(rest[0]);
  }

  /// Digits, letters and points, and a sign after an exponent's `e`; whether that
  /// is a number is the builder's question, which can name the parameter.
  Token takeNumber() {
    size_t start = position++;
    while (position < text.size()) {
      char c = text[position], before = llvm::toLower(text[position - 1]);
      bool sign = (c == '+' || c == '-') && before == 'e' && position + 1 < text.size() &&
                  llvm::isDigit(text[position + 1]);
      if (!llvm::isAlnum(c) && c != '.' && c != '_' && !sign)
        break;
      ++position;
    }
    return {Token::Number, text.slice(start, position), start};
  }

  /// One character, and all that follow while `belongs`.
  template <typename Predicate> Token take(Token::Kind kind, Predicate belongs) {
    size_t start = position++;
    // A character beyond ASCII is several bytes; an error shows all of it.
    bool wide = static_cast<unsigned char>(text[start]) >= 0x80;
    while (position < text.size() &&
           (belongs(text[position]) ||
            (wide && (static_cast<unsigned char>(text[position]) & 0xc0) == 0x80)))
      ++position;
    return {kind, text.slice(start, position), start};
  }

  StringRef text;
  size_t position = 0;
};

//===----------------------------------------------------------------------===//
// Parser
//===----------------------------------------------------------------------===//

using NodePtr = std::unique_ptr<Node>;

class Parser {
public:
  explicit Parser(const Source &source) : source(source), lexer(source.text) {
    advance();
  }

  NodePtr parseWhole();
  NodePtr parseWholeList();

private:
  NodePtr parseExpression();
  NodePtr parseTerm();
  NodePtr parseFactor();
  NodePtr parsePrimary();
  NodePtr parseValue();
  NodePtr parseNegative();
  NodePtr parseListValue();
  /// The arguments of `call`, after the opening bracket.
  LogicalResult parseArguments(Node &call, char close, bool named);
  LogicalResult parseArgument(Node &call, bool named);

  /// `left op right`; extends `left` where it already is an unbracketed chain of
  /// the same associative operator.
  NodePtr combine(Node::Kind kind, const Token &at, NodePtr left, NodePtr right,
                  const Node *&chain);

  void advance() { token = lexer.next(); }
  NodePtr make(Node::Kind kind) {
    auto node = std::make_unique<Node>();
    node->kind = kind;
    node->offset = token.offset;
    node->text = token.text;
    return node;
  }
  LogicalResult append(Node &parent, Argument argument);
  /// What is there, for "expected ..., got ...".
  std::string describe() const;
  NodePtr expected(const llvm::Twine &what) {
    source.error(token.offset) << "expected " << what.str() << ", got " << describe();
    return nullptr;
  }
  LogicalResult enter() {
    if (++nesting <= kMaximumDepth)
      return success();
    return source.error(token.offset)
           << "the expression is nested deeper than " << kMaximumDepth << " levels";
  }

  const Source &source;
  Lexer lexer;
  Token token;
  unsigned nesting = 0;
};
} // namespace

std::string Parser::describe() const {
  if (token.kind == Token::End)
    return "the end of the expression";
  if (token.kind == Token::Invalid && !llvm::isPrint(token.text[0]) &&
      token.text.size() == 1)
    return "the byte 0x" + llvm::toHex(token.text);
  return ("'" + token.text + "'").str();
}

LogicalResult Parser::append(Node &parent, Argument argument) {
  parent.depth = std::max(parent.depth, argument.value->depth + 1);
  if (parent.depth > kMaximumDepth)
    return source.error(parent.offset)
           << "the expression is nested deeper than " << kMaximumDepth << " levels";
  parent.arguments.push_back(std::move(argument));
  return success();
}

NodePtr Parser::combine(Node::Kind kind, const Token &at, NodePtr left, NodePtr right,
                        const Node *&chain) {
  bool extends =
      chain && chain == left.get() && left->kind == kind && kind != Node::Difference;
  NodePtr node;
  if (extends) {
    node = std::move(left);
  } else {
    node = std::make_unique<Node>();
    node->kind = kind;
    node->offset = at.offset;
    node->text = at.text;
    size_t offset = left->offset;
    if (failed(append(*node, {"", offset, std::move(left)})))
      return nullptr;
  }
  size_t offset = right->offset;
  if (failed(append(*node, {"", offset, std::move(right)})))
    return nullptr;
  chain = node.get();
  return node;
}

NodePtr Parser::parseExpression() {
  NodePtr left = parseTerm();
  const Node *chain = nullptr;
  while (left && (token.is('|') || token.is('-'))) {
    Token at = token;
    advance();
    NodePtr right = parseTerm();
    if (!right)
      return nullptr;
    left = combine(at.is('|') ? Node::Union : Node::Difference, at, std::move(left),
                   std::move(right), chain);
  }
  return left;
}

NodePtr Parser::parseTerm() {
  NodePtr left = parseFactor();
  const Node *chain = nullptr;
  while (left && token.is('&')) {
    Token at = token;
    advance();
    NodePtr right = parseFactor();
    if (!right)
      return nullptr;
    left = combine(Node::Intersect, at, std::move(left), std::move(right), chain);
  }
  return left;
}

NodePtr Parser::parseFactor() {
  if (!token.is('~'))
    return parsePrimary();
  NodePtr node = make(Node::Complement);
  advance();
  if (failed(enter()))
    return nullptr;
  NodePtr operand = parseFactor();
  --nesting;
  if (!operand)
    return nullptr;
  size_t offset = operand->offset;
  if (failed(append(*node, {"", offset, std::move(operand)})))
    return nullptr;
  return node;
}

NodePtr Parser::parsePrimary() {
  if (token.is('(')) {
    Token open = token;
    advance();
    if (failed(enter()))
      return nullptr;
    NodePtr inner = parseExpression();
    --nesting;
    if (!inner)
      return nullptr;
    if (!token.is(')')) {
      InFlightDiagnostic diagnostic = source.error(token.offset);
      diagnostic << "expected ')', got " << describe();
      diagnostic.attachNote(source.locate(open.offset)) << "to close this '('";
      return nullptr;
    }
    advance();
    return inner;
  }
  if (token.kind != Token::Name)
    return expected("a mask");
  NodePtr node = make(Node::Name);
  advance();
  if (!token.is('('))
    return node;
  node->kind = Node::Call;
  advance();
  if (failed(enter()) || failed(parseArguments(*node, ')', /*named=*/true)))
    return nullptr;
  --nesting;
  return node;
}

LogicalResult Parser::parseArguments(Node &call, char close, bool named) {
  if (token.is(close)) {
    advance();
    return success();
  }
  while (true) {
    if (failed(parseArgument(call, named)))
      return failure();
    if (token.is(close)) {
      advance();
      return success();
    }
    if (!token.is(',')) {
      expected(llvm::Twine("',' or '") + llvm::Twine(close) + "'");
      return failure();
    }
    advance();
  }
}

LogicalResult Parser::parseArgument(Node &call, bool named) {
  Argument argument{"", token.offset, nullptr};
  NodePtr value = parseValue();
  if (value && named && value->kind == Node::Name && token.is('=')) {
    argument.name = value->text;
    advance();
    value = parseValue();
  }
  if (!value)
    return failure();
  argument.value = std::move(value);
  return append(call, std::move(argument));
}

NodePtr Parser::parseValue() {
  if (token.kind == Token::Number) {
    NodePtr node = make(Node::Number);
    advance();
    return node;
  }
  if (token.is('-'))
    return parseNegative();
  if (token.is('['))
    return parseListValue();
  if (token.kind == Token::Name) {
    bool boolean = token.text == "true" || token.text == "false";
    if (boolean || token.text == "unbounded") {
      NodePtr node = make(boolean ? Node::Boolean : Node::Unbounded);
      advance();
      return node;
    }
  }
  if (token.kind != Token::Name && !token.is('(') && !token.is('~'))
    return expected("a value");
  return parseExpression();
}

/// A number with its sign: the text from the sign to the end of the number.
NodePtr Parser::parseNegative() {
  NodePtr node = make(Node::Number);
  advance();
  if (token.kind != Token::Number)
    return expected("a number after '-'");
  if (token.offset != node->offset + 1) {
    source.error(node->offset) << "write the sign next to its number: -" << token.text;
    return nullptr;
  }
  node->text = source.text.slice(node->offset, token.offset + token.text.size());
  advance();
  return node;
}

NodePtr Parser::parseListValue() {
  NodePtr node = make(Node::List);
  advance();
  if (failed(enter()) || failed(parseArguments(*node, ']', /*named=*/false)))
    return nullptr;
  --nesting;
  return node;
}

NodePtr Parser::parseWhole() {
  if (token.kind == Token::End)
    return expected("a mask, such as 'causal'");
  NodePtr node = parseExpression();
  if (node && token.kind != Token::End)
    return expected("an operator ('|', '&' or '-') or the end of the expression");
  return node;
}

NodePtr Parser::parseWholeList() {
  NodePtr list = make(Node::List);
  while (true) {
    size_t offset = token.offset;
    if (token.kind != Token::Name)
      return expected("a score modifier, such as 'softcap(30.0)'");
    NodePtr item = parsePrimary();
    if (!item || failed(append(*list, {"", offset, std::move(item)})))
      return nullptr;
    if (token.kind == Token::End)
      return list;
    if (!token.is(','))
      return expected("',' or the end of the list");
    advance();
  }
}

NodePtr sparse_attn::expression::parseExpression(const Source &source) {
  return Parser(source).parseWhole();
}

NodePtr sparse_attn::expression::parseList(const Source &source) {
  return Parser(source).parseWholeList();
}
