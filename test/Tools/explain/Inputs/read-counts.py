#!/usr/bin/env python3
# ===- read-counts.py - the numbers in a picture's legend -------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Prints the counts of an HTML explanation as count-tiles.py does."""
import re
import sys

with open(sys.argv[1], encoding="utf-8") as stream:
    page = stream.read()
counts = {
    name: int(number.replace(",", ""))
    for name, number in re.findall(r'class="legend">([a-z ]+) <tspan class="number">([\d,]+)', page)
}
print(f"visited {counts['full'] + counts['partial']}")
for name in ("full", "partial", "skipped"):
    print(f"{name} {counts[name]}")
print(f"pairs {counts['kept']} of {counts['kept'] + counts['left out']}")
