"""Small tasks of the burst scenario: computing, fetching, writing to a file.

Each answers {"ms": its own time, "bytes": moved}, computing ones with 0 bytes.
"""

from __future__ import annotations

from _actions import Source

#: {"n": 60}: the product of two n x n matrices, in the language itself.
MATMUL = Source(
    name="matmul",
    python="""\
import time

def main(params):
    begun, n = time.perf_counter(), params["n"]
    a = [[i * n + j for j in range(n)] for i in range(n)]
    b = [[i - j for j in range(n)] for i in range(n)]
    columns = list(zip(*b))
    c = [[sum(x * y for x, y in zip(row, col)) for col in columns] for row in a]
    ms = (time.perf_counter() - begun) * 1000
    return {"ms": ms, "bytes": 0, "check": c[n - 1][0]}
""",
    nodejs="""\
function main(params) {
  var begun = Date.now(), n = params.n, c = [];
  for (var i = 0; i < n; i++) {
    var row = new Array(n);
    for (var j = 0; j < n; j++) {
      var sum = 0;
      for (var k = 0; k < n; k++) { sum += (i * n + k) * (k - j); }
      row[j] = sum;
    }
    c.push(row);
  }
  return { ms: Date.now() - begun, bytes: 0, check: c[n - 1][0] };
}
""",
)

#: {"depth": 10}: binary trees of that depth, built and counted.
TREES = Source(
    name="trees",
    python="""\
import time

def tree(depth):
    return (tree(depth - 1), tree(depth - 1)) if depth else (None, None)

def nodes(each):
    return 1 + sum(nodes(child) for child in each if child is not None)

def main(params):
    begun = time.perf_counter()
    found = nodes(tree(params["depth"]))
    return {"ms": (time.perf_counter() - begun) * 1000, "bytes": 0, "nodes": found}
""",
    nodejs="""\
function tree(depth) {
  return depth ? [tree(depth - 1), tree(depth - 1)] : [];
}
function nodes(each) {
  return each.reduce(function (sum, child) { return sum + nodes(child); }, 1);
}
function main(params) {
  var begun = Date.now(), found = nodes(tree(params.depth));
  return { ms: Date.now() - begun, bytes: 0, nodes: found };
}
""",
)

#: {"url"}: fetch it whole.
DOWNLOAD = Source(
    name="download",
    python="""\
import time, urllib.request

def main(params):
    begun, size = time.perf_counter(), 0
    with urllib.request.urlopen(params["url"], timeout=50) as answer:
        while part := answer.read(65536):
            size += len(part)
    return {"ms": (time.perf_counter() - begun) * 1000, "bytes": size}
""",
    nodejs="""\
function main(params) {
  return new Promise(function (resolve, reject) {
    var begun = Date.now(), size = 0;
    require('http').get(params.url, function (answer) {
      answer.on('data', function (part) { size += part.length; });
      answer.on('end', function () {
        resolve({ ms: Date.now() - begun, bytes: size });
      });
    }).on('error', reject);
  });
}
""",
)

#: {"size": bytes}: written to a temporary file and read again.
FILES = Source(
    name="files",
    python="""\
import os, tempfile, time

def main(params):
    begun, block, size = time.perf_counter(), os.urandom(1024), params["size"]
    with tempfile.TemporaryFile() as file:
        for _ in range(size // 1024):
            file.write(block)
        file.seek(0)
        found = 0
        while part := file.read(65536):
            found += len(part)
    return {"ms": (time.perf_counter() - begun) * 1000, "bytes": 2 * found}
""",
    nodejs="""\
function main(params) {
  var fs = require('fs'), os = require('os'), path = require('path');
  var begun = Date.now(), name = 'loadtest-' + process.pid + '-' + Math.random();
  var file = path.join(os.tmpdir(), name);
  fs.writeFileSync(file, Buffer.alloc(params.size, 'x'));
  var found = fs.readFileSync(file).length;
  fs.unlinkSync(file);
  return { ms: Date.now() - begun, bytes: 2 * found };
}
""",
)

WORKS = {source.name: source for source in (MATMUL, TREES, DOWNLOAD, FILES)}
