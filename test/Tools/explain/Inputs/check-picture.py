#!/usr/bin/env python3
# ===- check-picture.py - is a picture what it should be? -------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Parses an SVG, PNG or HTML file and fails where it is malformed, where it
refers to anything outside, or where an option asks for more."""
import argparse
import os
import re
import struct
import xml.etree.ElementTree as ElementTree
import zlib
from html.parser import HTMLParser

SVG = "{http://www.w3.org/2000/svg}"
VOID = {"meta", "input", "br", "link", "img"}


def check_svg(text):
    root = ElementTree.fromstring(text)
    assert root.tag == SVG + "svg", root.tag
    width, height = float(root.get("width")), float(root.get("height"))
    assert root.get("viewBox") == f"0 0 {width:g} {height:g}", root.get("viewBox")
    for element in root.iter():
        assert element.tag.startswith(SVG), element.tag
        for name in element.attrib:
            assert "href" not in name, f"{element.tag} refers to something"
    # A map is a nested svg; paths in it stay inside.
    maps = [svg for svg in root.iter(SVG + "svg") if svg is not root]
    assert maps, "there is no map"
    for picture in maps:
        assert 0 < float(picture.get("width")) <= width
        assert 0 < float(picture.get("height")) <= height
        assert picture.find(f"{SVG}path[@class='empty']") is not None
    return " ".join(root.itertext())


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.text, self.tags = [], [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            assert name not in ("src", "href", "onclick"), f"<{tag} {name}={value}>"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> ends {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        self.text.append(data)


def check_html(text):
    page = Page()
    page.feed(text)
    page.close()
    assert not page.open, page.open
    assert "script" not in page.tags and "svg" in page.tags
    assert "http" not in text and "url(" not in text and "@import" not in text
    return " ".join(page.text)


def check_png(data):
    """Returns the texts; `size` and `pixels` are kept for the options."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, []
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        (check,) = struct.unpack(">I", data[at + 8 + length : at + 12 + length])
        assert check == zlib.crc32(kind + body), kind
        chunks.append((kind, body))
        at += 12 + length
    assert chunks[0][0] == b"IHDR" and chunks[-1][0] == b"IEND"
    width, height, depth, color = struct.unpack(">IIBB", chunks[0][1][:10])
    assert (depth, color) == (8, 2), "8 bits of red, green and blue"
    raw = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    assert len(raw) == height * (1 + 3 * width)
    texts = [body.replace(b"\0", b" ").decode("latin-1") for kind, body in chunks if kind == b"tEXt"]
    return f"{width}x{height} " + " ".join(texts)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--has", action="append", default=[], help="text that it shows")
    parser.add_argument("--most-bytes", type=int)
    options = parser.parse_args()
    with open(options.file, "rb") as stream:
        data = stream.read()
    check = {".svg": check_svg, ".html": check_html}.get(os.path.splitext(options.file)[1])
    text = check(data.decode("utf-8")) if check else check_png(data)
    text = re.sub(r"\s+", " ", text)
    for wanted in options.has:
        assert wanted in text, f"{wanted!r} is not in {text!r}"
    if options.most_bytes:
        assert len(data) <= options.most_bytes, f"{len(data)} bytes"


main()
