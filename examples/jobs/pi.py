"""Pi by Monte Carlo, spread over a fleet: the classic of Serverless-Supercomputing.

    edgectl mapreduce run examples/jobs/pi.py --set points=1e9
    edgectl pi --points 1e9

Points fall at random on the unit square; the share of them inside the quarter circle is
pi/4. A chunk's seed is made of the job's seed and the chunk's number, so the same
settings give the same answer on any fleet, whatever fails on the way.

A loop over `random.random()` throws 10 million points a second on one core of a laptop;
this throws 75 million, as many as NumPy, with the standard library alone:

- A coordinate's digits are drawn only as far as they are needed. Seven or eight bits of
  x and y say in which cell of a 256 x 128 grid a point lies. Most cells are wholly
  inside or wholly outside; only for one point in 85, whose cell is crossed by the
  circle, are the other 53 bits drawn.
- The cells of 8,192 points are judged at once. One big integer holds a byte per point;
  with the top bit of each byte set before a subtraction, that bit stays set exactly
  where the difference is not negative, so one subtraction compares 8,192 pairs.

The run of the prior system, 5,000 actions of 20 points each, is
`--set chunks=5000 --set points=1e5`.
"""

import math
import random
import re
import time

config = {
    "chunks": 64,
    "points": 100_000_000,
    "seed": 1,
    # The field of a chunk's result that is shown as progress and speed.
    "items": "points",
    "limits": {"timeout": 60_000, "memory": 128, "logs": 1},
}

ROWS, COLUMNS = 256, 128
#: For each row x, how many cells y lie wholly inside, and the last one touched.
INSIDE = bytes(
    sum(((x + 1) / ROWS) ** 2 + ((y + 1) / COLUMNS) ** 2 <= 1 for y in range(COLUMNS))
    for x in range(ROWS)
)
TOUCHED = bytes(
    sum((x / ROWS) ** 2 + (y / COLUMNS) ** 2 < 1 for y in range(COLUMNS)) - 1
    for x in range(ROWS)
)
BATCH = 8192


def args_for_action(index):
    points, chunks = config["points"], config["chunks"]
    if points < 1:
        raise ValueError(f"points: at least 1 is needed, not {points}")
    share = points * (index + 1) // chunks - points * index // chunks
    return {"points": share, "seed": f"{config['seed']}/{index}"}


def action(params):
    points, generator = params["points"], random.Random(params["seed"])
    started = time.perf_counter()
    inside = sum(throw(generator, BATCH) for _ in range(points // BATCH))
    inside += throw(generator, points % BATCH)
    return {
        "inside": inside,
        "points": points,
        "seconds": time.perf_counter() - started,
    }


def throw(generator, count):
    """How many of `count` random points are inside the quarter circle."""
    top_bits = int.from_bytes(b"\x80" * count, "little")
    rows = generator.randbytes(count)
    cells = generator.getrandbits(8 * count) & ~top_bits if count else 0
    inside = int.from_bytes(rows.translate(INSIDE), "little")
    touched = int.from_bytes(rows.translate(TOUCHED), "little")
    not_inside = (cells | top_bits) - inside & top_bits
    crossed = (touched | top_bits) - cells & not_inside
    found = count - not_inside.bit_count()
    columns = cells.to_bytes(count, "little")
    digits = generator.random
    for match in re.finditer(b"\x80", crossed.to_bytes(count, "little")):
        at = match.start()
        x, y = (rows[at] + digits()) / ROWS, (columns[at] + digits()) / COLUMNS
        found += x * x + y * y < 1
    return found


def reduce(results):
    inside = sum(result["inside"] for result in results)
    points = sum(result["points"] for result in results)
    share = inside / points
    return {
        "pi": 4 * share,
        "error": abs(4 * share - math.pi),
        "stderr": 4 * math.sqrt(share * (1 - share) / points),
        "points": points,
    }
