//===- Npy.cpp - reading and writing .npy files ---------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Support/Npy.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"
#include <cstring>

using namespace llvm;
using namespace sparse_attn;

static constexpr StringLiteral kMagic("\x93NUMPY");

//===----------------------------------------------------------------------===//
// Header
//===----------------------------------------------------------------------===//

namespace {

struct Header {
  ElementKind type;
  bool fortranOrder;
  SmallVector<int64_t, 4> shape;
};

/// Parses the literal that numpy writes: a dict with three known keys.
class HeaderParser {
public:
  explicit HeaderParser(StringRef text) : rest(text) {}

  Expected<Header> parse();

private:
  void skipSpace() { rest = rest.ltrim(" \t\r\n\f\v"); }
  bool consume(char c) {
    skipSpace();
    return rest.consume_front(StringRef(&c, 1));
  }
  std::optional<StringRef> parseString();
  std::optional<bool> parseBool();
  Error parseDescr(Header &header);
  Error parseShape(Header &header);

  StringRef rest;
};

} // namespace

static Error malformed(const Twine &why) {
  return createStringError("malformed header: " + why);
}

std::optional<StringRef> HeaderParser::parseString() {
  skipSpace();
  if (rest.empty() || (rest.front() != '\'' && rest.front() != '"'))
    return std::nullopt;
  size_t end = rest.find(rest.front(), 1);
  if (end == StringRef::npos)
    return std::nullopt;
  StringRef text = rest.slice(1, end);
  rest = rest.drop_front(end + 1);
  return text;
}

std::optional<bool> HeaderParser::parseBool() {
  skipSpace();
  if (rest.consume_front("True"))
    return true;
  if (rest.consume_front("False"))
    return false;
  return std::nullopt;
}

Error HeaderParser::parseDescr(Header &header) {
  skipSpace();
  if (rest.starts_with("["))
    return createStringError(
        "structured dtypes are not supported; save one array per field");
  std::optional<StringRef> descr = parseString();
  if (!descr)
    return malformed("'descr' is not a string");
  StringRef code = *descr;
  if (code.starts_with("|O") || code == "O")
    return createStringError(
        "dtype object is not supported; convert with astype to a number type");
  // '<' is little-endian, '|' is for types where order means nothing, '=' is
  // the writer's own order and never appears in a file.
  if (code.starts_with(">"))
    return createStringError("big-endian data ('" + *descr +
                             "') is not supported; convert with astype('<" +
                             code.drop_front() + "')");
  if (!code.consume_front("<") && !code.consume_front("|"))
    return malformed("'descr' is '" + *descr + "', not a dtype");
  struct Known {
    StringLiteral code;
    ElementKind type;
  };
  static constexpr Known kKnown[] = {
      {"f8", ElementKind::F64}, {"f4", ElementKind::F32}, {"f2", ElementKind::F16},
      {"i8", ElementKind::I64}, {"i4", ElementKind::I32}, {"i1", ElementKind::I8},
      {"u1", ElementKind::U8},  {"b1", ElementKind::U8},
  };
  for (const Known &known : kKnown)
    if (code == known.code) {
      header.type = known.type;
      return Error::success();
    }
  return createStringError("dtype '" + *descr +
                           "' is not supported; use float64, float32, float16, int64, "
                           "int32, int8, uint8 or bool");
}

Error HeaderParser::parseShape(Header &header) {
  if (!consume('('))
    return malformed("'shape' is not a tuple");
  while (!consume(')')) {
    int64_t size;
    skipSpace();
    if (rest.starts_with("-"))
      return malformed("'shape' holds a negative size");
    if (rest.empty() || !isDigit(rest.front()))
      return malformed("'shape' is not a tuple of integers");
    if (rest.consumeInteger(10, size))
      return malformed("'shape' holds a size that does not fit 64 bits");
    rest.consume_front("L"); // Python 2 wrote 3L
    header.shape.push_back(size);
    if (consume(','))
      continue;
    if (!consume(')'))
      return malformed("'shape' is not closed");
    break;
  }
  if (header.shape.size() > static_cast<size_t>(kNpyMaxRank))
    return createStringError("rank " + Twine(header.shape.size()) +
                             " is above the limit of " + Twine(kNpyMaxRank));
  return Error::success();
}

Expected<Header> HeaderParser::parse() {
  Header header{};
  bool descr = false, order = false, shape = false;
  if (!consume('{'))
    return malformed("it does not start with '{'");
  while (!consume('}')) {
    std::optional<StringRef> key = parseString();
    if (!key)
      return malformed("a key is not a string");
    if (!consume(':'))
      return malformed("no ':' after '" + *key + "'");
    bool &seen = *key == "descr" ? descr : *key == "fortran_order" ? order : shape;
    if (&seen == &shape && *key != "shape")
      return malformed("unknown key '" + *key + "'");
    if (seen)
      return malformed("'" + *key + "' appears twice");
    seen = true;
    if (&seen == &descr) {
      if (Error error = parseDescr(header))
        return error;
    } else if (&seen == &order) {
      std::optional<bool> value = parseBool();
      if (!value)
        return malformed("'fortran_order' is neither True nor False");
      header.fortranOrder = *value;
    } else if (Error error = parseShape(header)) {
      return error;
    }
    if (consume(','))
      continue;
    if (!consume('}'))
      return malformed("the dictionary is not closed");
    break;
  }
  skipSpace();
  if (!rest.empty())
    return malformed("there is text after the dictionary");
  if (!descr || !order || !shape)
    return malformed(StringRef(!descr   ? "'descr'"
                               : !order ? "'fortran_order'"
                                        : "'shape'") +
                     " is missing");
  return header;
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

/// Copies elements in column-major order to row-major order.
static void copyTransposed(const char *source, Array &array) {
  size_t width = getElementBytes(array.type());
  SmallVector<int64_t, 4> index(array.rank(), 0);
  for (int64_t i = 0; i < array.elements(); ++i) {
    std::memcpy(array.as<char>() + array.position(index) * width, source + i * width,
                width);
    for (int64_t axis = 0; axis < array.rank(); ++axis) {
      if (++index[axis] < array.shape()[axis])
        break;
      index[axis] = 0;
    }
  }
}

Expected<Array> sparse_attn::parseNpy(StringRef bytes) {
  if (!bytes.starts_with(kMagic))
    return createStringError(bytes.empty() ? "is empty"
                                           : "is not a .npy file: it does not start with "
                                             "\\x93NUMPY");
  if (bytes.size() < 10)
    return createStringError("is truncated: the file ends before its header");
  unsigned major = static_cast<uint8_t>(bytes[6]), minor = static_cast<uint8_t>(bytes[7]);
  if (major < 1 || major > 3 || minor != 0)
    return createStringError("has .npy version " + Twine(major) + "." + Twine(minor) +
                             "; 1.0, 2.0 and 3.0 are supported");
  size_t start = major == 1 ? 10 : 12;
  if (bytes.size() < start)
    return createStringError("is truncated: the file ends before its header");
  size_t length = major == 1 ? support::endian::read16le(bytes.data() + 8)
                             : support::endian::read32le(bytes.data() + 8);
  if (bytes.size() - start < length)
    return createStringError("is truncated: the header is " + Twine(length) +
                             " bytes long, the file ends after " +
                             Twine(bytes.size() - start));
  Expected<Header> header = HeaderParser(bytes.substr(start, length)).parse();
  if (!header)
    return header.takeError();

  // The size is compared before anything is allocated: a header may claim any.
  StringRef elements = bytes.drop_front(start + length);
  std::optional<int64_t> count = countElements(header->shape);
  int64_t size = 0;
  if (!count || MulOverflow<int64_t>(*count, getElementBytes(header->type), size))
    return createStringError("the sizes of shape " + formatShape(header->shape) +
                             " overflow 64 bits");
  if (static_cast<uint64_t>(size) != elements.size())
    return createStringError(
        (elements.size() < static_cast<uint64_t>(size) ? "is truncated: shape "
                                                       : "has bytes left over: shape ") +
        formatShape(header->shape) + " of " + getElementName(header->type) + " is " +
        Twine(size) + " bytes, the file holds " + Twine(elements.size()));
  Expected<Array> array = Array::create(header->type, header->shape);
  if (!array)
    return array;
  if (header->fortranOrder && array->rank() > 1)
    copyTransposed(elements.data(), *array);
  else
    std::memcpy(array->data(), elements.data(), elements.size());
  return array;
}

Expected<Array> sparse_attn::readNpy(StringRef path) {
  ErrorOr<std::unique_ptr<MemoryBuffer>> buffer =
      MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (std::error_code error = buffer.getError())
    return createStringError("cannot read '" + path + "': " + error.message());
  Expected<Array> array = parseNpy((*buffer)->getBuffer());
  if (!array)
    return createStringError("'" + path + "': " + toString(array.takeError()));
  return array;
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

static std::string buildHeader(const Array &array) {
  static constexpr StringLiteral kCodes[] = {"<f8", "<f4", "<f2", "<i8",
                                             "<i4", "|i1", "|u1"};
  std::string dict = "{'descr': '";
  dict += kCodes[static_cast<size_t>(array.type())];
  dict += "', 'fortran_order': False, 'shape': (";
  for (int64_t size : array.shape())
    dict += std::to_string(size) + ", ";
  if (array.rank() > 0)
    dict.resize(dict.size() - (array.rank() > 1 ? 2 : 1)); // (3,) and (3, 4)
  dict += "), }";
  // The elements start at a multiple of 64, the last byte before is a newline.
  dict.append(alignTo(10 + dict.size() + 1, 64) - (10 + dict.size() + 1), ' ');
  dict += '\n';

  std::string header = kMagic.str();
  header += '\x01';
  header += '\0';
  header += static_cast<char>(dict.size() & 0xff);
  header += static_cast<char>(dict.size() >> 8);
  return header + dict;
}

/// Writes header and elements; an error of the stream is returned and cleared,
/// since a stream destroyed with one aborts.
static std::error_code writeTo(raw_fd_ostream &out, const Array &array) {
  out << buildHeader(array);
  out.write(array.as<char>(), array.bytes());
  out.flush();
  std::error_code error = out.error();
  out.clear_error();
  return error;
}

Error sparse_attn::writeNpy(StringRef path, const Array &array) {
  auto failure = [&](std::error_code error) {
    return createStringError("cannot write '" + path + "': " + error.message());
  };
  if (array.type() == ElementKind::BF16)
    return createStringError("cannot write '" + path +
                             "': .npy has no bf16; widen the array to f32");
  // Renaming over a device would replace it.
  sys::fs::file_status status;
  if (!sys::fs::status(path, status) &&
      status.type() != sys::fs::file_type::regular_file) {
    std::error_code error;
    raw_fd_ostream out(path, error);
    if (!error)
      error = writeTo(out, array);
    return error ? failure(error) : Error::success();
  }
  Expected<sys::fs::TempFile> file = sys::fs::TempFile::create(
      path + ".tmp-%%%%%%", sys::fs::all_read | sys::fs::all_write);
  if (!file)
    return failure(errorToErrorCode(file.takeError()));
  std::error_code error;
  {
    raw_fd_ostream out(file->FD, /*shouldClose=*/false);
    error = writeTo(out, array);
  }
  if (error) {
    consumeError(file->discard());
    return failure(error);
  }
  if (Error kept = file->keep(path)) {
    error = errorToErrorCode(std::move(kept));
    consumeError(file->discard());
    return failure(error);
  }
  return Error::success();
}
