# ===- gpu_check.py - every GPU kernel against a reference, on a GPU ---------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Runs the libraries of gpu_kernels.py on fresh random inputs and compares O and LSE with
attention in float64 by PyTorch, on the same device.

    python3 benchmark/gpu_check.py --libraries build/gpu

Outputs are poisoned with NaN first, and a guard behind each output must stay as it is. With
--sanitizer compute-sanitizer runs the whole check once more, where it is installed.
"""
import argparse
import math
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "python")]

import torch  # noqa: E402

import gpu_kernels  # noqa: E402
import patterns  # noqa: E402
import sparse_attn  # noqa: E402

TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
#: docs/semantics.md, section 9, and docs/gpu.md for f32.
BOUNDS = {"f32": 5e-6, "bf16": 4e-3, "f16": 1e-3}
LSE_BOUND = 2e-5
GUARD = 4096  # elements behind an output


def reference(q, k, v, keep, shape):
    """O and LSE in float64, some rows of one head at a time."""
    keys = torch.arange(shape.keys, device=q.device)
    out = torch.empty(*q.shape[:3], v.shape[3], dtype=torch.float64, device=q.device)
    lse = torch.empty(q.shape[:3], dtype=torch.float64, device=q.device)
    group, step = shape.heads // shape.kv_heads, max(1, 2**24 // max(1, shape.keys))
    for b in range(shape.batch):
        for h in range(shape.heads):
            keys_of, values_of = k[b, h // group].double(), v[b, h // group].double()
            for first in range(0, shape.queries, step):
                rows = slice(first, min(first + step, shape.queries))
                scores = q[b, h, rows].double() @ keys_of.T / math.sqrt(q.shape[3])
                positions = torch.arange(rows.start, rows.stop, device=q.device)
                positions = (positions + shape.keys - shape.queries)[:, None]
                if keep is not None:
                    kept = keep(b, h, positions, keys[None, :])
                    scores = scores.masked_fill(~kept, -math.inf)
                lse[b, h, rows] = torch.logsumexp(scores, 1)
                shift = torch.nan_to_num(lse[b, h, rows], neginf=0.0)[:, None]
                out[b, h, rows] = torch.exp(scores - shift) @ values_of
    return out, lse


def guarded(shape, dtype, device):
    """A poisoned output, and the memory that it lies in."""
    count = math.prod(shape)
    memory = torch.full((count + GUARD,), math.nan, dtype=dtype, device=device)
    memory[count:] = 7
    return memory[:count].view(shape), memory


def check_case(kernel, dtype, pattern, shape, device, seed):
    """The errors of O and LSE; raises where something is plainly wrong."""
    generator = torch.Generator(device).manual_seed(seed)
    head_dim = kernel.inputs[0].shape[3]

    def random(*sizes):
        wide = torch.randn(*sizes, generator=generator, device=device)
        return wide.to(TYPES[dtype])

    q = random(shape.batch, shape.heads, shape.queries, head_dim)
    k = random(shape.batch, shape.kv_heads, shape.keys, head_dim)
    v = random(shape.batch, shape.kv_heads, shape.keys, head_dim)
    mask = patterns.make_mask(pattern, shape)
    inputs = {name: torch.as_tensor(x, device=device) for name, x in mask.inputs.items()}

    def run(operands):
        plan = kernel.plan(*shape, device=device, **operands)
        out, out_memory = guarded(q.shape, TYPES[dtype], device)
        lse, lse_memory = guarded(q.shape[:3], torch.float32, device)
        plan.run(q, k, v, out=out, lse=lse, **inputs)
        if device != "cpu":
            torch.cuda.synchronize()
        for memory in (out_memory, lse_memory):
            if not bool((memory[-GUARD:] == 7).all()):
                raise AssertionError("wrote past the end of an output")
        return out, lse

    out, lse = run(mask.operands)
    if mask.operands:  # of operands there the device lists the tiles, and the same ones
        there = run({n: torch.as_tensor(x, device=device) for n, x in mask.operands.items()})
        if not torch.equal(out, there[0]) or not torch.equal(lse, there[1]):
            raise AssertionError("a plan of operands on the device computes something else")
    with torch.device(device):
        keep = mask.keep and mask.keep(torch)
    wanted_out, wanted_lse = reference(q, k, v, keep, shape)
    empty = torch.isneginf(wanted_lse)
    if not torch.equal(torch.isneginf(lse), empty) or bool((out[empty] != 0).any()):
        raise AssertionError("rows without keys are not 0 and -inf")
    difference = (out.double() - wanted_out).norm() / max(wanted_out.norm().item(), 1e-30)
    distance = (lse.double() - wanted_lse)[~empty].abs()
    return difference.item(), distance.max().item() if distance.numel() else 0.0


def check_all(arguments):
    config = gpu_kernels.configuration()
    cases = list(gpu_kernels.list_cases(config["check"], arguments.select))
    failed = 0
    for number, (_, kernel, sizes) in enumerate(cases, 1):
        name, shape = gpu_kernels.library_name(kernel), patterns.Shape(*sizes)
        line = f"[{number}/{len(cases)}] {name} {list(shape)}"
        try:
            library = sparse_attn.load(os.path.join(arguments.libraries, f"lib{name}.so"))
            errors = check_case(
                library[name], kernel["dtype"], config["patterns"][kernel["pattern"]], shape,
                arguments.device, arguments.seed + number,
            )
        except (AssertionError, RuntimeError, sparse_attn.Error) as error:
            errors, line = (math.nan, math.nan), f"{line}: {error}"
        bound = BOUNDS[kernel["dtype"]]
        passed = errors[0] <= bound and errors[1] <= LSE_BOUND  # NaN does not
        failed += not passed
        print(
            f"{line}: O {errors[0]:.2g} of {bound:.0e}, LSE {errors[1]:.2g} of {LSE_BOUND:.0e}"
            f"{'' if passed else '  FAILED'}",
            flush=True,
        )
    where = "CPU" if arguments.device == "cpu" else torch.cuda.get_device_name()
    print(f"{len(cases) - failed} of {len(cases)} passed on {where}")
    return failed == 0 and bool(cases)


def sanitize(arguments):
    """The same under compute-sanitizer."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        print("compute-sanitizer is not installed: skipped")
        return True
    command = [tool, "--error-exitcode=1", sys.executable, *sys.argv]
    return subprocess.run([part for part in command if part != "--sanitizer"]).returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = os.path.dirname(HERE)
    parser.add_argument("--libraries", default=os.path.join(root, "build", "gpu"))
    parser.add_argument("--device", default="cuda:0", help="cpu tries the check itself")
    parser.add_argument("--select", default="", help="libraries whose name contains this")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "little"))
    parser.add_argument("--sanitizer", action="store_true")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    passed = check_all(arguments)
    if arguments.sanitizer:
        passed = sanitize(arguments) and passed
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
