"""Makes a screenshot small: Chromium reads the pixels, zlib packs them as a PNG with a palette of 256 colours."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any, Final

from playwright.async_api import Page

#: Colours that differ in their last bits only are one colour, the most frequent of them; the flat ones stay exact.
_READ: Final = """async (encoded) => {
  const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  canvas.drawImage(bitmap, 0, 0);
  const { data } = canvas.getImageData(0, 0, width, height);
  const colours = new Uint32Array(width * height);
  const seen = new Map();
  for (let at = 0; at < colours.length; at += 1) {
    const colour = (data[4 * at] << 16) | (data[4 * at + 1] << 8) | data[4 * at + 2];
    colours[at] = colour;
    seen.set(colour, (seen.get(colour) ?? 0) + 1);
  }
  const byUse = [...seen].sort((a, b) => b[1] - a[1] || a[0] - b[0]).map(([colour]) => colour);
  const palette = [], index = new Map();
  for (let bits = 0, buckets; !palette.length; bits += 1) {
    const mask = (0xff << bits) & 0xff, key = (colour) => colour & ((mask << 16) | (mask << 8) | mask);
    buckets = new Map();
    for (const colour of byUse) if (!buckets.has(key(colour))) buckets.set(key(colour), buckets.size);
    if (buckets.size > 256) continue;
    for (const colour of byUse) {
      const at = buckets.get(key(colour));
      if (at === palette.length) palette.push(colour);
      index.set(colour, at);
    }
  }
  let pixels = "";
  for (let at = 0; at < colours.length; at += 1) pixels += String.fromCharCode(index.get(colours[at]));
  return { width, height, palette, pixels: btoa(pixels) };
}"""


async def with_palette(page: Page, picture: bytes) -> bytes:
    """The same picture in 256 colours, about a third of the size; `page` is any page of a browser."""
    read: dict[str, Any] = await page.evaluate(_READ, base64.b64encode(picture).decode())
    width, height, pixels = read["width"], read["height"], base64.b64decode(read["pixels"])
    rows = b"".join(b"\0" + pixels[at : at + width] for at in range(0, width * height, width))
    palette = b"".join(colour.to_bytes(3, "big") for colour in read["palette"])
    small = b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", palette),
            _chunk(b"IDAT", zlib.compress(rows, 9)),
            _chunk(b"IEND", b""),
        )
    )
    return min(small, picture, key=len)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
