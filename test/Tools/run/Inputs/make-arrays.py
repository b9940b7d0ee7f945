#===- make-arrays.py - the .npy files of the tests beside this folder -----===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===-----------------------------------------------------------------------===#
"""Good arrays of a kernel segments(offsets) with D = 16, and every kind of bad one."""

import numpy as np

rng = np.random.default_rng(0)
q = rng.normal(size=(2, 4, 30, 16)).astype(np.float32)
k = rng.normal(size=(2, 2, 50, 16)).astype(np.float32)
np.save("q.npy", q)
np.save("k.npy", np.asfortranarray(k))
np.save("v.npy", k[::-1])
np.save("offsets.npy", np.array([[0, 20, 50], [0, 35, 50]]))  # int64
np.save("kv_len.npy", np.array([50, 41], np.int32))

np.save("q64.npy", q.astype(np.float64))
np.save("q-big-endian.npy", q.astype(">f4"))
np.save("q-objects.npy", q.astype(object))
np.save("q-rank3.npy", q[0])
np.save("q-D8.npy", q[..., :8])
np.save("k-batch.npy", k[:1])
np.save("k-heads.npy", np.concatenate([k, k[:, :1]], axis=1))
np.save("offsets-large.npy", np.array([[0, 2**31]]))
np.save("offsets-past.npy", np.array([[0, 51]], np.int32))
np.save("offsets-down.npy", np.array([[0, 20, 10]], np.int32))
np.save("kv_len-past.npy", np.array([51, 0], np.int32))

whole = open("q.npy", "rb").read()
open("q-truncated.npy", "wb").write(whole[:-100])
open("q-header.npy", "wb").write(whole[:40])
open("q-text.npy", "w").write("1 2 3\n")
open("q-empty.npy", "w").close()
