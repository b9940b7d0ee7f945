//===- AsmCopy.cpp - asynchronous copies in inline PTX --------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AsyncCopy.h"
#include "BulkCopy.h"
#include "InlineAsm.h"
#include "Intrinsics.h"

using namespace llvm;
using namespace sparse_attn::emulator;

using Operands = SmallVector<AsmOperand, 8>;

/// The address part of `[map, {coordinates}]`.
static AsmOperand base(const AsmOperand &address) {
  AsmOperand result = address;
  result.parts.resize(1);
  return result;
}

static Error emitBulk(AsmContext &context, Handler handler, const Operands &inputs,
                      uint64_t immediate = 0) {
  return context.emit(handler, InstructionKind::Tma, {}, inputs, immediate);
}

/// cp.async.bulk.tensor.2d...: between shared and global memory.
static Error decodeTensor(AsmContext &context, const AsmStatement &statement) {
  unsigned rank = 0;
  for (const std::string &part : statement.parts)
    if (part.size() == 2 && part[1] == 'd')
      rank = part[0] - '0';
  for (const char *other : {"im2col", "multicast::cluster", "tile::gather4",
                            "cta_group::1", "cta_group::2", "reduce"})
    if (statement.has(other))
      return context.decoder.unsupported(Twine(other) + " is not known");
  if (statement.has("prefetch"))
    return Error::success();
  // Into shared memory the map is the second operand, out of it the first.
  bool isLoad = statement.has("mbarrier::complete_tx::bytes");
  ArrayRef<AsmOperand> operands = statement.operands;
  if (operands.size() < (isLoad ? 3u : 2u))
    return context.decoder.unsupported("too few operands");
  const AsmOperand &map = operands[isLoad ? 1 : 0];
  Operands coordinates;
  if (map.kind == AsmOperand::Address && map.parts.size() == 2)
    llvm::append_range(coordinates, AsmContext::elements(map.parts[1]));
  if (rank < 1 || rank > 5 || coordinates.size() != rank)
    return context.decoder.unsupported("as many coordinates as dimensions are expected");
  Operands inputs;
  if (isLoad)
    inputs = {operands[0], operands[2], base(map)};
  else
    inputs = {operands[1], base(map)};
  inputs.append(coordinates);
  return emitBulk(context, isLoad ? executeTensorLoad : executeTensorStore, inputs, rank);
}

static Error decodeBulk(AsmContext &context, const AsmStatement &statement) {
  ArrayRef<AsmOperand> operands = statement.operands;
  if (statement.parts[0] != "cp")
    return context.decoder.unsupported("no such instruction");
  if (statement.has("tensor"))
    return decodeTensor(context, statement);
  if (statement.has("commit_group"))
    return emitBulk(context, executeBulkCommit, {});
  if (statement.has("wait_group") && operands.size() == 1) {
    Expected<uint64_t> left = context.constant(operands[0]);
    if (!left)
      return left.takeError();
    return emitBulk(context, executeBulkWait, {}, *left * 2 + statement.has("read"));
  }
  if (statement.has("prefetch"))
    return Error::success();
  if (statement.has("multicast::cluster"))
    return context.decoder.unsupported("copies to several blocks of a cluster");
  if (statement.has("mbarrier::complete_tx::bytes") && statement.has("global") &&
      operands.size() >= 4)
    return emitBulk(context, executeBulkLoad,
                    {operands[0], operands[3], operands[1], operands[2]});
  if (statement.has("bulk_group") && operands.size() >= 3)
    return emitBulk(context, executeBulkStore, {operands[0], operands[1], operands[2]});
  return context.decoder.unsupported("no such copy");
}

Expected<bool> sparse_attn::emulator::decodeAsmCopy(AsmContext &context,
                                                    const AsmStatement &statement) {
  if (statement.parts[0] != "cp" || statement.parts.size() < 3 ||
      statement.parts[1] != "async")
    return false;
  auto done = [](Error error) -> Expected<bool> {
    if (error)
      return std::move(error);
    return true;
  };
  ArrayRef<AsmOperand> operands = statement.operands;
  StringRef what = statement.parts[2];
  constexpr auto kind = InstructionKind::CopyAsync;
  if (what == "bulk")
    return done(decodeBulk(context, statement));
  if (what == "commit_group")
    return done(context.emit(executeCopyCommit, kind, {}, {}));
  if (what == "wait_all")
    return done(context.emit(executeCopyWaitAll, kind, {}, {}));
  if (what == "wait_group" && operands.size() == 1) {
    Expected<uint64_t> left = context.constant(operands[0]);
    if (!left)
      return left.takeError();
    return done(context.emit(executeCopyWait, kind, {}, {}, *left));
  }
  if (what == "mbarrier" && operands.size() == 1)
    return done(
        context.emit(executeCopyArrive, kind, {}, operands, statement.has("noinc")));
  if ((what == "ca" || what == "cg") && operands.size() >= 3) {
    Expected<uint64_t> bytes = context.constant(operands[2]);
    if (!bytes)
      return bytes.takeError();
    Operands inputs = {operands[0], operands[1]};
    if (operands.size() > 3)
      inputs.push_back(operands[3]);
    return done(context.emit(executeCopyAsync, kind, {}, inputs, *bytes));
  }
  return false;
}
