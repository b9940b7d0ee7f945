#!/usr/bin/env python3
# ===- docs.py - put the documentation together ------------------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Copies the written pages and the generated ones into one folder.

The written pages keep their place in the tree, so that their links hold; the
generated ones go to reference/. A link that leads nowhere is an error.
"""
import argparse
import glob
import os
import re
import shutil
import sys

WRITTEN = [
    "*.md",
    "docs/*.md",
    "dialect/*/README.md",
    "runtime/*.md",
    "python/README.md",
    "examples/*/README.md",
]
PICTURES = "docs/images/*.svg"
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def copy_pages(source, out, generated):
    """Fills `out`; returns the copied pages, as paths below it."""
    shutil.rmtree(out, ignore_errors=True)
    pages = {}
    for pattern in WRITTEN:
        for path in sorted(glob.glob(os.path.join(source, pattern))):
            pages[os.path.relpath(path, source)] = path
    for path in glob.glob(os.path.join(source, PICTURES)):
        target = os.path.join(out, os.path.relpath(path, source))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(path, target)
    for path in generated:
        name = re.sub(r"Dialect\.md$", ".md", os.path.basename(path))
        pages[os.path.join("reference", name)] = path
    for page, path in pages.items():
        target = os.path.join(out, page)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(path, target)
    return list(pages)


def find_broken_links(source, out, pages):
    """Yields (page, line, link) for links to files that are nowhere.

    A page may point at another page or at any file of the tree.
    """
    for page in pages:
        with open(os.path.join(out, page), encoding="utf-8") as stream:
            text = stream.read()
        for number, line in enumerate(text.splitlines(), 1):
            for link in LINK.findall(re.sub(r"`[^`]*`", "", line)):
                target = link.split("#")[0]
                if not target or re.match(r"[a-z]+:", target):
                    continue
                path = os.path.normpath(os.path.join(os.path.dirname(page), target))
                if not any(os.path.exists(os.path.join(root, path)) for root in (out, source)):
                    yield page, number, link


def main():
    parser = argparse.ArgumentParser(description="Puts the documentation together.")
    parser.add_argument("--source", required=True, help="the tree")
    parser.add_argument("--out", required=True, help="the folder to write")
    parser.add_argument("generated", nargs="*", help="generated pages")
    options = parser.parse_args()
    pages = copy_pages(options.source, options.out, options.generated)
    broken = list(find_broken_links(options.source, options.out, pages))
    for page, line, link in broken:
        print(f"{page}:{line}: the link '{link}' leads nowhere", file=sys.stderr)
    print(f"{len(pages)} pages in {options.out}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
