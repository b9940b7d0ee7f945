//===- Safetensors.cpp - reading .safetensors files -----------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Support/Safetensors.h"
#include "sparse_attn/Support/Npy.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/MemoryBuffer.h"
#include <cstring>

using namespace llvm;
using namespace sparse_attn;

/// Readers of the format agree on this limit.
static constexpr uint64_t kMostHeaderBytes = 100'000'000;
/// {"name": {"shape": [...]}}
static constexpr int kHeaderDepth = 3;

namespace {

/// An element type that the format knows, with its type here where there is one.
struct Dtype {
  StringLiteral name;
  unsigned bytes;
  std::optional<ElementKind> kind;
};

/// One entry of the header.
struct Entry {
  StringRef name, dtype;
  SmallVector<int64_t, 4> shape;
  uint64_t begin = 0, end = 0; ///< of its bytes, behind the header
};

} // namespace

static const Dtype *findDtype(StringRef name) {
  static constexpr Dtype kKnown[] = {
      {"F64", 8, ElementKind::F64}, {"F32", 4, ElementKind::F32},
      {"F16", 2, ElementKind::F16}, {"BF16", 2, ElementKind::BF16},
      {"I64", 8, ElementKind::I64}, {"I32", 4, ElementKind::I32},
      {"I8", 1, ElementKind::I8},   {"U8", 1, ElementKind::U8},
      {"BOOL", 1, ElementKind::U8}, {"I16", 2, std::nullopt},
      {"U16", 2, std::nullopt},     {"U32", 4, std::nullopt},
      {"U64", 8, std::nullopt},     {"F8_E4M3", 1, std::nullopt},
      {"F8_E5M2", 1, std::nullopt},
  };
  const Dtype *found =
      find_if(kKnown, [&](const Dtype &known) { return known.name == name; });
  return found == std::end(kKnown) ? nullptr : found;
}

static Error malformed(const Twine &why) {
  return createStringError("malformed header: " + why);
}

//===----------------------------------------------------------------------===//
// Header
//===----------------------------------------------------------------------===//

/// The JSON parser recurses, so what is nested deeper than a header can be is refused
/// before it sees it.
static bool isShallow(StringRef text) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (quoted) {
      i += c == '\\'; // whatever follows
      quoted = c != '"';
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kHeaderDepth)
        return false;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return true;
}

/// A list of integers >= 0, nullopt where `value` is anything else.
static std::optional<SmallVector<int64_t, 4>> readSizes(const json::Value *value) {
  const json::Array *list = value ? value->getAsArray() : nullptr;
  if (!list)
    return std::nullopt;
  SmallVector<int64_t, 4> sizes;
  for (const json::Value &element : *list) {
    std::optional<int64_t> size = element.getAsInteger();
    if (!size || *size < 0)
      return std::nullopt;
    sizes.push_back(*size);
  }
  return sizes;
}

static Expected<Entry> readEntry(StringRef name, const json::Value &value,
                                 uint64_t available) {
  auto bad = [&](const Twine &why) { return malformed("'" + name + "' " + why); };
  const json::Object *object = value.getAsObject();
  if (!object)
    return bad("is not an object");
  std::optional<StringRef> dtype = object->getString("dtype");
  if (!dtype)
    return bad("has no 'dtype'");
  auto shape = readSizes(object->get("shape"));
  if (!shape)
    return bad("has no 'shape' of sizes >= 0");
  auto offsets = readSizes(object->get("data_offsets"));
  if (!offsets || offsets->size() != 2 || (*offsets)[0] > (*offsets)[1])
    return bad("has no 'data_offsets' [begin, end]");
  Entry entry{name, *dtype, *shape, static_cast<uint64_t>((*offsets)[0]),
              static_cast<uint64_t>((*offsets)[1])};
  if (entry.end > available)
    return createStringError("is truncated: '" + name + "' ends at byte " +
                             Twine(entry.end) + ", the file holds " + Twine(available));
  // Other types than these may come; their tensors cannot be read, but stepped over.
  const Dtype *known = findDtype(*dtype);
  if (!known)
    return entry;
  std::optional<int64_t> count = countElements(entry.shape);
  int64_t bytes = 0;
  if (!count || MulOverflow<int64_t>(*count, known->bytes, bytes))
    return createStringError("the sizes of '" + name + "', " + formatShape(entry.shape) +
                             ", overflow 64 bits");
  if (static_cast<uint64_t>(bytes) != entry.end - entry.begin)
    return bad("of shape " + formatShape(entry.shape) + " and dtype " + *dtype + " is " +
               Twine(bytes) + " bytes, its 'data_offsets' hold " +
               Twine(entry.end - entry.begin));
  return entry;
}

/// Every byte behind the header belongs to one tensor.
static Error checkCover(std::vector<Entry> &entries, uint64_t available) {
  llvm::sort(entries, [](const Entry &a, const Entry &b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  uint64_t end = 0;
  StringRef last;
  for (const Entry &entry : entries) {
    if (entry.begin < end)
      return malformed("'" + last + "' and '" + entry.name + "' overlap");
    if (entry.begin > end)
      return malformed("bytes " + Twine(end) + " to " + Twine(entry.begin) +
                       " belong to no tensor");
    end = entry.end;
    last = entry.name;
  }
  if (end != available)
    return createStringError("has bytes left over: its tensors end at byte " +
                             Twine(end) + ", the file holds " + Twine(available));
  return Error::success();
}

static Expected<std::vector<Entry>> readEntries(const json::Value &header,
                                                uint64_t available) {
  const json::Object *object = header.getAsObject();
  if (!object)
    return malformed("it is not an object");
  std::vector<Entry> entries;
  for (const auto &[key, value] : *object) {
    if (key == "__metadata__") {
      if (!value.getAsObject())
        return malformed("'__metadata__' is not an object");
      continue;
    }
    Expected<Entry> entry = readEntry(key, value, available);
    if (!entry)
      return entry.takeError();
    entries.push_back(std::move(*entry));
  }
  if (Error error = checkCover(entries, available))
    return error;
  return entries;
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

/// "it holds a, b, c, ..."
static Error noSuchTensor(StringRef name, ArrayRef<Entry> entries) {
  constexpr size_t kMostNames = 8;
  std::string names;
  for (const Entry &entry : entries.take_front(kMostNames))
    names += (names.empty() ? "" : ", ") + entry.name.str();
  if (entries.size() > kMostNames)
    names += ", ... (" + std::to_string(entries.size()) + " in all)";
  return createStringError("has no tensor '" + name + "'; it holds " +
                           (names.empty() ? "none" : names));
}

static Expected<Array> readTensor(const Entry &entry, StringRef elements) {
  const Dtype *known = findDtype(entry.dtype);
  if (!known || !known->kind)
    return createStringError("'" + entry.name + "' has dtype " + entry.dtype +
                             ", which is not supported; use F64, F32, F16, BF16, I64, "
                             "I32, I8, U8 or BOOL");
  if (entry.shape.size() > static_cast<size_t>(kNpyMaxRank))
    return createStringError("'" + entry.name + "' has rank " +
                             Twine(entry.shape.size()) + ", above the limit of " +
                             Twine(kNpyMaxRank));
  Expected<Array> array = Array::create(*known->kind, entry.shape);
  if (array)
    std::memcpy(array->data(), elements.data() + entry.begin, entry.end - entry.begin);
  return array;
}

Expected<Array> sparse_attn::parseSafetensor(StringRef bytes, StringRef name) {
  constexpr size_t kLengthBytes = 8;
  if (bytes.empty())
    return createStringError("is empty");
  if (bytes.size() < kLengthBytes)
    return createStringError("is truncated: the file ends before its header");
  uint64_t length = support::endian::read64le(bytes.data());
  StringRef rest = bytes.drop_front(kLengthBytes);
  if (!rest.empty() && rest.front() != '{')
    return createStringError("is not a .safetensors file: its header does not start "
                             "with '{'");
  if (length > kMostHeaderBytes)
    return createStringError("has a header of " + Twine(length) +
                             " bytes, above the limit of " + Twine(kMostHeaderBytes));
  if (length > rest.size())
    return createStringError("is truncated: the header is " + Twine(length) +
                             " bytes long, the file ends after " + Twine(rest.size()));
  StringRef text = rest.take_front(length), elements = rest.drop_front(length);
  if (!isShallow(text))
    return malformed("it is nested deeper than a list in an object in an object");
  Expected<json::Value> header = json::parse(text);
  if (!header)
    return malformed(toString(header.takeError()));
  Expected<std::vector<Entry>> entries = readEntries(*header, elements.size());
  if (!entries)
    return entries.takeError();
  for (const Entry &entry : *entries)
    if (entry.name == name)
      return readTensor(entry, elements);
  // In the order of their names, as people look for them.
  llvm::sort(*entries, [](const Entry &a, const Entry &b) { return a.name < b.name; });
  return noSuchTensor(name, *entries);
}

Expected<Array> sparse_attn::readSafetensor(StringRef path, StringRef name) {
  ErrorOr<std::unique_ptr<MemoryBuffer>> buffer =
      MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (std::error_code error = buffer.getError())
    return createStringError("cannot read '" + path + "': " + error.message());
  Expected<Array> array = parseSafetensor((*buffer)->getBuffer(), name);
  if (!array)
    return createStringError("'" + path + "': " + toString(array.takeError()));
  return array;
}

Expected<Array> sparse_attn::readArrayFile(StringRef file) {
  static constexpr StringLiteral kSuffix(".safetensors");
  if (file.ends_with(kSuffix))
    return readSafetensor(file, ""); // says what it holds
  size_t end = file.find((kSuffix + ":").str());
  if (end == StringRef::npos)
    return readNpy(file);
  return readSafetensor(file.take_front(end + kSuffix.size()),
                        file.drop_front(end + kSuffix.size() + 1));
}
