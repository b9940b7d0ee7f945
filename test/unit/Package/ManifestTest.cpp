//===- ManifestTest.cpp - the manifest ------------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MadeLibrary.h"
#include "sparse_attn/runtime.h"

using namespace sparse_attn;
namespace json = llvm::json;

namespace {

TEST(Manifest, SaysWhatThereIs) {
  llvm::Expected<json::Value> value = json::parse(buildManifest(makeLibrary()));
  ASSERT_TRUE(static_cast<bool>(value)) << llvm::toString(value.takeError());
  const json::Object &manifest = *value->getAsObject();
  EXPECT_EQ(manifest.getString("name"), "made");
  EXPECT_EQ(manifest.getInteger("abi"), SPARSE_ATTN_ABI_VERSION);
  EXPECT_TRUE(manifest.getString("version"));
  const json::Array &kernels = *manifest.getArray("kernels");
  ASSERT_EQ(kernels.size(), 2u);
  const json::Object &kernel = *kernels[0].getAsObject();
  EXPECT_EQ(kernel.getString("name"), "made");
  EXPECT_EQ(kernel.getString("prefix"), "made");
  EXPECT_EQ(kernels[1].getAsObject()->getString("prefix"), "made_plain");
  EXPECT_EQ(kernel.getString("dtype"), "f32");
  EXPECT_EQ(kernel.getInteger("head_dim"), 64);
  EXPECT_EQ(kernel.getInteger("value_dim"), 48);
  EXPECT_EQ(kernel.getString("source"), "func.func @\"a\\b\"");
  // What compilation adds.
  EXPECT_EQ(kernel.getNumber("density"), 0.5);
}

TEST(Manifest, Tensors) {
  json::Value value = llvm::cantFail(json::parse(buildManifest(makeLibrary())));
  const json::Object &kernel =
      *(*value.getAsObject()->getArray("kernels"))[0].getAsObject();
  EXPECT_EQ((*kernel.getArray("inputs"))[0],
            (json::Value(json::Object{{"name", "q"},
                                      {"dtype", "f32"},
                                      {"shape", json::Array{"B", "H", "M", 64}},
                                      {"given_to", "run"}})));
  EXPECT_EQ((*kernel.getArray("inputs"))[3],
            (json::Value(json::Object{{"name", "offsets"},
                                      {"dtype", "i32"},
                                      {"shape", json::Array{"B or 1", "any"}},
                                      {"given_to", "plan"}})));
  EXPECT_EQ(
      (*kernel.getArray("outputs"))[1],
      (json::Value(json::Object{
          {"name", "lse"}, {"dtype", "f32"}, {"shape", json::Array{"B", "H", "M"}}})));
}

TEST(Manifest, Attentions) {
  json::Value value = llvm::cantFail(json::parse(buildManifest(makeLibrary())));
  const json::Object &kernel =
      *(*value.getAsObject()->getArray("kernels"))[0].getAsObject();
  const json::Array &attentions = *kernel.getArray("attentions");
  ASSERT_EQ(attentions.size(), 1u);
  const json::Object &attention = *attentions[0].getAsObject();
  EXPECT_EQ(attention.getString("binding"), "plan");
  EXPECT_EQ(attention.getInteger("tile_rows"), 32);
  EXPECT_EQ(attention.getInteger("tile_keys"), 256);
  EXPECT_EQ(attention.getBoolean("per_head"), false);
  EXPECT_EQ(attention.getBoolean("per_batch"), true);
  EXPECT_EQ(attention.getInteger("key_block"), 9);
  EXPECT_EQ(*attention.getArray("checked_by"), (json::Array{"graph_hop"}));
  EXPECT_EQ((*attention.getArray("levels"))[1],
            (json::Value(json::Object{
                {"name", "avx512"}, {"scratch_bytes", 256}, {"packed_bytes", 192}})));
}

} // namespace
