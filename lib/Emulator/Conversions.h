//===- Conversions.h - casts ------------------------------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EMULATOR_CONVERSIONS_H
#define SPARSE_ATTN_LIB_EMULATOR_CONVERSIONS_H

#include "Decoder.h"
#include "llvm/IR/InstrTypes.h"

namespace sparse_attn::emulator {

llvm::Error decodeCast(Decoder &decoder, const llvm::CastInst &cast);

/// Emits what takes the bits of `from`, laid out one after another, as scalars of `to`.
llvm::Expected<Slots> emitBitcast(Decoder &decoder, const Slots &slots,
                                  llvm::ArrayRef<Scalar> from, llvm::ArrayRef<Scalar> to);

/// The handler that converts between two formats of numbers; null where there is none.
Handler floatConversion(Scalar::Kind from, Scalar::Kind to);

} // namespace sparse_attn::emulator

#endif // SPARSE_ATTN_LIB_EMULATOR_CONVERSIONS_H
