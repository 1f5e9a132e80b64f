"""Two queries over a big table: CSV parts in an object store, one to a chunk.

    edgectl mapreduce run examples/jobs/big_data.py --set chunks=100 \\
      --set 'store=http://192.0.2.9:9000/amplab/part-{part:05}.csv' \\
      --set query=aggregate --set x=8

Stands for the AMPLab big-data benchmark, which FaaS-Evaluation ran on clouds (the scan
alone, pageRank > 1000) and the heavy workloads planned. The store is anything that
answers GET: an S3-compatible server with public parts, or a plain HTTP server.

- `scan`: SELECT pageURL, pageRank FROM rankings WHERE pageRank > x
- `aggregate`: SELECT SUBSTR(sourceIP, 1, x), SUM(adRevenue) FROM visits GROUP BY 1

A job with two actions; `action_for` says which one a chunk is for.
"""

import csv
import io
import time
import urllib.request
from collections import Counter

config = {
    "chunks": 10,
    "store": "http://127.0.0.1:9000/amplab/part-{part:05}.csv",
    "query": "scan",
    "x": 1000,
    "items": "rows",
    "limits": {"timeout": 300_000, "memory": 512},
}
BUSY = 503


def args_for_action(index):
    return {"url": config["store"].format(part=index), "x": config["x"]}


def scan(params):
    rows, found = 0, []
    for url, rank, _ in part(params["url"]):
        rows += 1
        if int(rank) > params["x"]:
            found.append([url, int(rank)])
    return {"rows": rows, "found": found}


def aggregate(params):
    rows, revenue = 0, Counter()
    for source, _page, _date, earned, *_ in part(params["url"]):
        rows += 1
        # In whole cents: sums of these are the same in every order.
        revenue[source[: params["x"]]] += round(float(earned) * 100)
    return {"rows": rows, "cents": revenue}


actions = {"scan": scan, "aggregate": aggregate}


def action_for(_index):
    return config["query"]


def part(url):
    """The rows; asked for again when the store is busy."""
    pauses_s = [0.5, 2]
    while True:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return list(csv.reader(io.TextIOWrapper(answer, "utf-8", newline="")))
        except OSError as error:
            if not pauses_s or getattr(error, "code", BUSY) != BUSY:
                raise
        time.sleep(pauses_s.pop(0))


def reduce(results):
    rows = sum(result["rows"] for result in results)
    if config["query"] == "scan":
        found = [row for result in results for row in result["found"]]
        return {
            "rows": rows,
            "found": len(found),
            "highest": max(found, key=lambda r: r[1]),
        }
    cents = Counter()
    for result in results:
        cents.update(result["cents"])
    top = dict(cents.most_common(5))
    return {"rows": rows, "groups": len(cents), "cents": cents.total(), "top": top}
