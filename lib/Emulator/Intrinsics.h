//===- Intrinsics.h - a table from names to what decodes them ---*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EMULATOR_INTRINSICS_H
#define SPARSE_ATTN_LIB_EMULATOR_INTRINSICS_H

#include "Decoder.h"
#include "llvm/ADT/StringMap.h"
#include <functional>

namespace sparse_attn::emulator {

using DecodeCall = std::function<llvm::Error(Decoder &, const llvm::CallBase &)>;

/// Names without the suffix of overloaded types: "llvm.fma", not "llvm.fma.f32".
class IntrinsicTable {
public:
  static const IntrinsicTable &get();

  void add(const llvm::Twine &name, DecodeCall decode) {
    entries[name.str()] = std::move(decode);
  }
  /// Results and operands of the handler are the scalars of those of the call.
  void add(const llvm::Twine &name, Handler handler, InstructionKind kind,
           uint64_t immediate = 0);
  /// Calls that a machine needs not and the emulator neither.
  void ignore(const llvm::Twine &name);

  const DecodeCall *find(llvm::StringRef name) const;

  /// What a name was added with, where that was a handler.
  struct Plain {
    Handler handler;
    InstructionKind kind;
    uint64_t immediate;
  };
  const Plain *findPlain(llvm::StringRef name) const;

private:
  IntrinsicTable();
  llvm::StringMap<DecodeCall> entries;
  llvm::StringMap<Plain> plain;
};

/// Emits a handler whose operands are the scalars of the first `numOperands` arguments.
void emitCall(Decoder &decoder, const llvm::CallBase &call, Handler handler,
              InstructionKind kind, uint64_t immediate = 0, unsigned numOperands = ~0u,
              const void *data = nullptr);

// Each file of intrinsics adds its own.
void addMemoryIntrinsics(IntrinsicTable &table);
void addVectorIntrinsics(IntrinsicTable &table);
void addMathIntrinsics(IntrinsicTable &table);
void addIntegerIntrinsics(IntrinsicTable &table);
void addConversionIntrinsics(IntrinsicTable &table);
void addSpecialRegisters(IntrinsicTable &table);
void addBarrierIntrinsics(IntrinsicTable &table);
void addMbarrierIntrinsics(IntrinsicTable &table);
void addCollectiveIntrinsics(IntrinsicTable &table);
void addMatrixIntrinsics(IntrinsicTable &table);
void addLoadMatrixIntrinsics(IntrinsicTable &table);
void addAsyncCopyIntrinsics(IntrinsicTable &table);
void addBulkCopyIntrinsics(IntrinsicTable &table);
void addWgmmaIntrinsics(IntrinsicTable &table);

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_LIB_EMULATOR_INTRINSICS_H
