"""How often each word comes in a text, line by line.

    edgectl mapreduce run examples/jobs/word_count.py --set inputs=/var/log/syslog

Stands for WordCount, which the heavy workloads on public clouds ran by Hadoop: the
first program of map-reduce. `inputs` is a file, each line an input; how many of them go
to a node at once is found out on the way.
"""

import re
from collections import Counter

config = {"inputs": "../README.md", "most": 10}


def action(params):
    words = Counter()
    for line in params["inputs"]:
        words.update(re.findall(r"[^\W\d_]+", line.lower()))
    return {"words": words}


def reduce(results):
    words = Counter()
    for result in results:
        words.update(result["words"])
    ordered = sorted(words.items(), key=lambda item: (-item[1], item[0]))
    return {
        "words": words.total(),
        "different": len(words),
        "most": dict(ordered[: config["most"]]),
    }
