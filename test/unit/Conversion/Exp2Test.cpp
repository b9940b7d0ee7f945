//===- Exp2Test.cpp - 2^x of generated kernels against libm ---------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Conversion/PlanToKernel/KernelBuilder.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "sparse_attn/Pipelines/Pipelines.h"
#include "sparse_attn/Target/CPUArchitecture.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Support/TargetSelect.h"
#include "gtest/gtest.h"
#include <cmath>
#include <limits>
#include <vector>

using namespace mlir;
using namespace sparse_attn;

namespace {

bool runsHere(const CPULevel &level) {
  return level.lanes <= 8 ? __builtin_cpu_supports("x86-64-v3")
                          : __builtin_cpu_supports("x86-64-v4");
}

/// exp2 of a level and a degree, compiled in memory.
class Exp2 {
public:
  Exp2(const CPULevel &level, int degree) : lanes(level.lanes) {
    DialectRegistry registry;
    registerDialects(registry);
    MLIRContext mlir(registry);
    mlir.loadAllAvailableDialects();
    Location loc = UnknownLoc::get(&mlir);
    OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
    Type pointer = LLVM::LLVMPointerType::get(&mlir), i = IndexType::get(&mlir);
    buildFunction(*module, loc, "powers", {pointer, pointer, i}, /*isPrivate=*/false,
                  [&](KernelBuilder &b, ValueRange arguments) {
                    Type f32 = b.builder.getF32Type();
                    auto from = b.arrayAt(arguments[0], {kBlock}, f32);
                    auto to = b.arrayAt(arguments[1], {kBlock}, f32);
                    b.loop(b.index(0), arguments[2], lanes, [&](Value first) {
                      Value x = b.loadVector(from, {first}, b.vectorType(lanes));
                      b.storeVector(b.exp2(x, level, degree), to, {first});
                    });
                  });
    EXPECT_TRUE(succeeded(lowerToLLVM(*module)));
    auto context = std::make_unique<llvm::LLVMContext>();
    std::unique_ptr<llvm::Module> code = translateModuleToLLVMIR(*module, *context);
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    jit = llvm::cantFail(llvm::orc::LLJITBuilder().create());
    llvm::cantFail(jit->addIRModule({std::move(code), std::move(context)}));
    function = llvm::cantFail(jit->lookup("powers")).toPtr<Function>();
  }

  std::vector<float> operator()(std::vector<float> x) {
    size_t count = x.size();
    x.resize(kBlock);
    std::vector<float> y(kBlock);
    function(x.data(), y.data(), llvm::alignTo(count, lanes));
    y.resize(count);
    return y;
  }

  static constexpr int64_t kBlock = 4096;

private:
  using Function = void (*)(const float *, float *, int64_t);
  int64_t lanes;
  std::unique_ptr<llvm::orc::LLJIT> jit;
  Function function;
};

/// Calls `body` for every level of this machine and both degrees.
void forEachExp2(function_ref<void(Exp2 &, double bound)> body) {
  for (const CPULevel &level : findHostArchitecture()->levels)
    for (auto [degree, bound] : {std::pair(5, 2e-7), std::pair(4, 3e-6)})
      if (runsHere(level)) {
        SCOPED_TRACE(level.name.str() + ", degree " + std::to_string(degree));
        Exp2 exp2(level, degree);
        body(exp2, bound);
      }
}

// Every 61st float from -0 to -160: the error is relative where the result is a normal
// number, and below that at most the smallest of those.
TEST(Exp2, errorOverTheWholeRange) {
  forEachExp2([](Exp2 &exp2, double bound) {
    const uint32_t first = llvm::bit_cast<uint32_t>(-0.0f);
    const uint32_t last = llvm::bit_cast<uint32_t>(-160.0f);
    double worst = 0, worstSubnormal = 0, smallest = std::numeric_limits<float>::min();
    for (uint32_t bits = first; bits <= last;) {
      std::vector<float> x;
      for (; bits <= last && x.size() < Exp2::kBlock; bits += 61)
        x.push_back(llvm::bit_cast<float>(bits));
      std::vector<float> y = exp2(x);
      for (size_t i = 0; i < x.size(); ++i) {
        double wanted = std::exp2(static_cast<double>(x[i]));
        double error = std::abs(y[i] - wanted);
        if (wanted >= smallest)
          worst = std::max(worst, error / wanted);
        else
          worstSubnormal = std::max(worstSubnormal, error);
      }
    }
    EXPECT_LE(worst, bound);
    EXPECT_LE(worstSubnormal, smallest);
  });
}

TEST(Exp2, exactAndSpecialValues) {
  forEachExp2([](Exp2 &exp2, double) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    std::vector<float> y = exp2({0.0f, -0.0f, -1.0f, -24.0f, -126.0f, -kInfinity, -200.0f,
                                 -std::numeric_limits<float>::max(), std::nanf("")});
    EXPECT_EQ(y[0], 1.0f);
    EXPECT_EQ(y[1], 1.0f);
    EXPECT_EQ(y[2], 0.5f);
    EXPECT_EQ(y[3], std::ldexp(1.0f, -24));
    EXPECT_EQ(y[4], std::ldexp(1.0f, -126));
    EXPECT_EQ(y[5], 0.0f);
    EXPECT_EQ(y[6], 0.0f);
    EXPECT_EQ(y[7], 0.0f);
    EXPECT_TRUE(std::isnan(y[8]));
  });
}

} // namespace
