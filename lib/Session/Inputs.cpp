//===- Inputs.cpp - the arrays of a kernel, from files or drawn -----------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Session/Session.h"
#include "sparse_attn/Support/Safetensors.h"
#include "llvm/ADT/StringExtras.h"
#include <cmath>
#include <numbers>

using namespace llvm;
using namespace sparse_attn;
using namespace sparse_attn::run;

/// sa_tensor::axis: which run-time size an axis has.
enum AxisCode { Free, Batch, Heads, KvHeads, Queries, Keys, SizeCount, OrOne = 16 };

static ArrayRef<sa_tensor> getInputs(const sparse_attn_kernel &kernel) {
  return {kernel.inputs, static_cast<size_t>(kernel.input_count)};
}

std::optional<ElementKind> run::getElementKind(const sa_tensor &tensor) {
  struct Known {
    int32_t code, bits;
    ElementKind kind;
  };
  static constexpr Known kKnown[] = {
      {kDLFloat, 32, ElementKind::F32}, {kDLFloat, 16, ElementKind::F16},
      {kDLInt, 32, ElementKind::I32},   {kDLInt, 8, ElementKind::I8},
      {kDLUInt, 8, ElementKind::U8},    {kDLBfloat, 16, ElementKind::BF16},
  };
  for (const Known &known : kKnown)
    if (known.code == tensor.type_code && known.bits == tensor.type_bits)
      return known.kind;
  return std::nullopt;
}

Expected<sparse_attn_shape> run::parseShape(StringRef text, StringRef option) {
  SmallVector<StringRef> parts;
  text.split(parts, ',');
  int64_t sizes[5];
  bool good = parts.size() == 5;
  for (size_t i = 0; good && i < 5; ++i)
    good = !parts[i].trim().getAsInteger(10, sizes[i]) && sizes[i] >= 0;
  if (!good)
    return createStringError(option + " takes five sizes B,H,Hkv,M,N, got '" + text +
                             "'");
  return sparse_attn_shape{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]};
}

//===----------------------------------------------------------------------===//
// Random arrays
//===----------------------------------------------------------------------===//

namespace {
/// splitmix64: a stream per array, so that one input does not move another.
class Random {
public:
  Random(uint64_t seed, StringRef name) : state(seed) {
    for (char c : name)
      state = next() ^ static_cast<uint8_t>(c);
  }

  uint64_t next() {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  /// Standard normal (Box-Muller; half of each pair is dropped).
  float normal() {
    double u = (static_cast<double>(next() >> 11) + 1) * 0x1p-53;
    double angle = 2 * std::numbers::pi * static_cast<double>(next() >> 11) * 0x1p-53;
    return static_cast<float>(std::sqrt(-2 * std::log(u)) * std::cos(angle));
  }

private:
  uint64_t state;
};
} // namespace

static Expected<Array> drawArray(const sa_tensor &tensor, const RandomRequest &random) {
  std::string name = tensor.name;
  std::optional<ElementKind> kind = getElementKind(tensor);
  bool real = tensor.type_code == kDLFloat || tensor.type_code == kDLBfloat;
  if (tensor.layout || !real || !kind)
    return createStringError(random.option + " does not draw '" + name + "', " +
                             describeTensor(tensor) + "; give it with " +
                             random.fileOption + " " + name + "=FILE");
  const sparse_attn_shape &shape = random.shape;
  const int64_t sizes[SizeCount] = {
      -1, shape.batch, shape.heads, shape.kv_heads, shape.queries, shape.keys};
  SmallVector<int64_t, 4> wanted;
  for (int32_t axis = 0; axis < tensor.rank; ++axis) {
    int32_t code = tensor.axis[axis];
    int64_t size = tensor.dims[axis];
    // Axes that may broadcast do, but for keys: a bias stays small.
    if (size < 0 && code > OrOne)
      size = code == OrOne + Keys ? shape.keys : 1;
    else if (size < 0 && code < SizeCount)
      size = sizes[code];
    if (size < 0)
      return createStringError(random.option + " does not know the size of axis " +
                               Twine(axis) + " of '" + name + "', " +
                               describeTensor(tensor) + "; give it with " +
                               random.fileOption + " " + name + "=FILE");
    wanted.push_back(size);
  }
  Expected<Array> array = Array::create(ElementKind::F32, wanted);
  if (!array)
    return createStringError("'" + name + "': " + toString(array.takeError()));
  Random generator(random.seed, name);
  for (int64_t i = 0; i < array->elements(); ++i)
    array->as<float>()[i] = generator.normal();
  return std::move(*array).roundTo(*kind);
}

//===----------------------------------------------------------------------===//
// Arrays from files
//===----------------------------------------------------------------------===//

static Expected<Array> readArray(const sa_tensor &tensor, StringRef file) {
  std::string name = tensor.name;
  std::optional<ElementKind> kind = getElementKind(tensor);
  if (!kind)
    return createStringError("'" + name + "' is " + describeTensor(tensor) +
                             ", a type that no file holds");
  Expected<Array> array = readArrayFile(file);
  if (!array)
    return array.takeError();
  Expected<Array> converted = std::move(*array).roundTo(*kind);
  if (!converted)
    return createStringError("'" + name + "' from '" + file + "' " +
                             toString(converted.takeError()));
  return converted;
}

Expected<StringMap<Array>> run::takeInputs(const sparse_attn_kernel &kernel,
                                           const StringMap<std::string> &files,
                                           std::optional<RandomRequest> random) {
  ArrayRef<sa_tensor> inputs = getInputs(kernel);
  for (StringRef name : files.keys())
    if (none_of(inputs, [&](const sa_tensor &tensor) { return name == tensor.name; })) {
      auto names = map_range(inputs, [](const sa_tensor &tensor) { return tensor.name; });
      return createStringError("kernel '" + Twine(kernel.name) + "' has no input '" +
                               name + "'; it takes " + join(names, ", "));
    }
  StringMap<Array> arrays;
  for (const sa_tensor &tensor : inputs) {
    auto file = files.find(tensor.name);
    Expected<Array> array = Array();
    if (file != files.end()) {
      array = readArray(tensor, file->second);
    } else if (random) {
      array = drawArray(tensor, *random);
    } else {
      std::string name = tensor.name;
      bool own = name == "q" || name == "k" || name == "v";
      std::string option = own ? "--" + name + " FILE" : "--operand " + name + "=FILE";
      array =
          createStringError("kernel '" + Twine(kernel.name) + "' reads '" + name + "', " +
                            describeTensor(tensor) + "; give it with " + option);
    }
    if (!array)
      return array.takeError();
    arrays[tensor.name] = std::move(*array);
  }
  return arrays;
}

Expected<sparse_attn_shape> run::getShape(const sparse_attn_kernel &kernel,
                                          const StringMap<Array> &arrays) {
  // The runtime checks every array against the shape; here the first that has
  // an axis decides, those of the run before the layout's.
  int64_t sizes[SizeCount] = {-1, -1, -1, -1, -1, -1};
  for (int32_t layout : {0, 1})
    for (const sa_tensor &tensor : getInputs(kernel)) {
      const Array &array = arrays.find(tensor.name)->second;
      if (array.rank() != tensor.rank)
        return createStringError("'" + Twine(tensor.name) + "' has shape " +
                                 formatShape(array.shape()) + ", the kernel takes " +
                                 describeTensor(tensor));
      for (int32_t axis = 0; tensor.layout == layout && axis < tensor.rank; ++axis) {
        int32_t code = tensor.axis[axis];
        if (code > Free && code < SizeCount && sizes[code] < 0)
          sizes[code] = array.shape()[axis];
      }
    }
  static constexpr StringLiteral kNames[] = {"", "B", "H", "Hkv", "M", "N"};
  for (int code = Batch; code < SizeCount; ++code)
    if (sizes[code] < 0)
      return createStringError("no input of kernel '" + Twine(kernel.name) + "' tells " +
                               kNames[code]);
  return sparse_attn_shape{sizes[Batch], sizes[Heads], sizes[KvHeads], sizes[Queries],
                           sizes[Keys]};
}
