"""The product of two matrices, a block of rows to each chunk.

    edgectl mapreduce run examples/jobs/matrix.py --set size=512

Stands for the matrix multiplication of FaaS-Evaluation and of the heavy workloads on
public clouds (512 x 512, GFLOPS as each function saw them): arithmetic, and nothing
else. The matrices are whole numbers made of their places, so nobody sends them, and
the product is proved by Freivalds: it times a vector is A times (B times the vector).
"""

import time

config = {
    "chunks": 32,
    "size": 256,
    "items": "operations",
    "limits": {"timeout": 60_000, "memory": 256},
}


def args_for_action(index):
    size, chunks = config["size"], config["chunks"]
    return {
        "size": size,
        "first": size * index // chunks,
        "end": size * (index + 1) // chunks,
    }


def row_of_a(i, size):
    return [(i * 31 + j * 17) % 101 - 50 for j in range(size)]


def column_of_b(j, size):
    return [(i * 13 + j * 29) % 97 - 48 for i in range(size)]


def action(params):
    size = params["size"]
    columns = [column_of_b(j, size) for j in range(size)]
    started = time.perf_counter()
    rows = [
        [sum(map(int.__mul__, row, column)) for column in columns]
        for row in (row_of_a(i, size) for i in range(params["first"], params["end"]))
    ]
    operations = 2 * size * size * len(rows)
    seconds = time.perf_counter() - started
    return {"rows": rows, "operations": operations, "seconds": seconds}


def reduce(results):
    size = config["size"]
    product = [row for result in results for row in result["rows"]]
    vector = [(7 * i) % 11 - 5 for i in range(size)]
    b_times = times([column_of_b(j, size) for j in range(size)], vector)
    a_times = [dot(row_of_a(i, size), b_times) for i in range(size)]
    busy_s = sum(result["seconds"] for result in results)
    operations = sum(result["operations"] for result in results)
    return {
        "right": [dot(row, vector) for row in product] == a_times,
        "trace": sum(product[i][i] for i in range(size)),
        "gflops_of_a_slot": operations / busy_s / 1e9,
    }


def dot(left, right):
    return sum(map(int.__mul__, left, right))


def times(columns, vector):
    """The matrix of these columns times the vector."""
    return [
        sum(c[i] * v for c, v in zip(columns, vector, strict=True))
        for i in range(len(vector))
    ]
