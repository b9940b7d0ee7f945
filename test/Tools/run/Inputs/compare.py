#===- compare.py - o.npy and l.npy against the NumPy reference ------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===-----------------------------------------------------------------------===#
import sys

import numpy as np

sys.path.insert(0, sys.argv[1] + "/test/reference")
import numpy_reference as ref

q, k, v, offsets, kv_len = (np.load(f"{name}.npy")
                            for name in ("q", "k", "v", "offsets", "kv_len"))
setting = ref.Setting(2, 4, 30, 50, kv_len=kv_len)
out, lse = ref.attention(q, k, v, ref.segments(offsets), setting)
np.testing.assert_allclose(np.load("o.npy"), out, rtol=1e-4, atol=1e-6)
np.testing.assert_allclose(np.load("l.npy"), lse, rtol=1e-4, atol=1e-6)
