"""The two steps of the transfer scenario: one leaves with data, one arrives with it.

Each notes the time by its machine's clock, in ms since 1970: the leaving one as its
last deed, the arriving one as its first. Old Node has whole milliseconds only.
"""

from __future__ import annotations

from _actions import Source

_PYTHON_IMAGE = """\
import base64, binascii, struct, time, zlib

def chunk(kind, data):
    body = kind + data
    size, check = struct.pack(">I", len(data)), struct.pack(">I", zlib.crc32(body))
    return size + body + check

def png(width, height):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    state, rows = 1, []
    for y in range(height):
        row = bytearray(b"\\0")
        for x in range(width):
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            row += bytes(((x * 255 // width), (y * 255 // height), state >> 23 & 255))
        rows.append(bytes(row))
    data = zlib.compress(b"".join(rows), 1)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\\x89PNG\\r\\n\\x1a\\n" + parts

"""

#: {"bytes": n} -> {"data": n characters, "left_ms"}
DEPART = Source(
    name="depart",
    python="""\
import time

def main(params):
    data = "x" * params["bytes"]
    return {"data": data, "left_ms": time.time() * 1000}
""",
    nodejs="""\
function now() {
  try {
    var clock = require('perf_hooks').performance;
    return clock.timeOrigin + clock.now();
  } catch (error) { return Date.now(); }
}
function main(params) {
  var data = new Array(params.bytes + 1).join('x');
  return { data: data, left_ms: now() };
}
""",
)

#: {"data", "left_ms"} -> {"hop_ms", "bytes"}
ARRIVE = Source(
    name="arrive",
    python="""\
import time

def main(params):
    arrived_ms = time.time() * 1000
    return {"hop_ms": arrived_ms - params["left_ms"], "bytes": len(params["data"])}
""",
    nodejs="""\
function now() {
  try {
    var clock = require('perf_hooks').performance;
    return clock.timeOrigin + clock.now();
  } catch (error) { return Date.now(); }
}
function main(params) {
  var arrived_ms = now();
  return { hop_ms: arrived_ms - params.left_ms, bytes: params.data.length };
}
""",
)

#: {"width", "height"} -> {"data": a PNG in base64, "width", "height", "left_ms"}
PAINT = Source(
    name="paint",
    python=_PYTHON_IMAGE
    + """\
def main(params):
    size = {"width": params["width"], "height": params["height"]}
    image = base64.b64encode(png(**size)).decode()
    return {"data": image, **size, "left_ms": time.time() * 1000}
""",
    nodejs="""\
var zlib = require('zlib');
function crc(buffer) {
  var value = -1;
  for (var i = 0; i < buffer.length; i++) {
    value ^= buffer[i];
    for (var k = 0; k < 8; k++) {
      value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    }
  }
  return (value ^ -1) >>> 0;
}
function chunk(kind, data) {
  var out = Buffer.alloc(12 + data.length);
  out.writeUInt32BE(data.length, 0);
  out.write(kind, 4, 'latin1');
  data.copy(out, 8);
  out.writeUInt32BE(crc(out.slice(4, 8 + data.length)), 8 + data.length);
  return out;
}
function png(width, height) {
  var head = Buffer.alloc(13), rows = Buffer.alloc(height * (width * 3 + 1));
  head.writeUInt32BE(width, 0); head.writeUInt32BE(height, 4);
  head[8] = 8; head[9] = 2;
  var state = 1, at = 0;
  for (var y = 0; y < height; y++) {
    rows[at++] = 0;
    for (var x = 0; x < width; x++) {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
      rows[at++] = x * 255 / width; rows[at++] = y * 255 / height;
      rows[at++] = state >> 23;
    }
  }
  return Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), chunk('IHDR', head),
    chunk('IDAT', zlib.deflateSync(rows, { level: 1 })),
    chunk('IEND', Buffer.alloc(0))]);
}
function main(params) {
  var image = png(params.width, params.height).toString('base64');
  return { data: image, width: params.width, height: params.height,
    left_ms: Date.now() };
}
""",
)

#: {"data", "width", "height", "left_ms"} -> {"hop_ms", "bytes", "whole"}
LOOK = Source(
    name="look",
    python="""\
import base64, struct, time

def main(params):
    hop_ms = time.time() * 1000 - params["left_ms"]
    image = base64.b64decode(params["data"])
    size = struct.unpack(">II", image[16:24])
    whole = image[:4] == b"\\x89PNG" and size == (params["width"], params["height"])
    return {"hop_ms": hop_ms, "bytes": len(image), "whole": whole}
""",
    nodejs="""\
function main(params) {
  var hop_ms = Date.now() - params.left_ms, image = Buffer.from(params.data, 'base64');
  var whole = image.toString('latin1', 1, 4) === 'PNG' &&
    image.readUInt32BE(16) === params.width && image.readUInt32BE(20) === params.height;
  return { hop_ms: hop_ms, bytes: image.length, whole: whole };
}
""",
)
