"""Which read of a sequencer fits where: local alignment by Smith and Waterman.

    edgectl mapreduce run examples/jobs/alignment.py --set reads='a.fasta b.fasta'

Stands for Rail-RNA, which the heavy workloads on public clouds planned and never ran:
reads of RNA against a reference, each on its own. The exact algorithm is used, the one
that heuristics are measured by: match +2, mismatch -1, gap -2.

Each FASTA file of `reads` (with spaces between the names) is a part; the reads of all
parts are the inputs, and a node is given as many at once as its speed suggests.
"""

from pathlib import Path

config = {"reads": "", "reference": "", "items": "cells", "limits": {"timeout": 60_000}}

REFERENCE = (
    "ATGGCGTACCTGAAGTCGATTGCCAGGATCCGTTAACGCTAGCATGCCTGATCGGATTACAGGCTTAACCGGTA"
    "CCATGGATCTTCGAGGCAATTCGCGATATCCTGCAGGTTACCGGAATTCTGACGTACGATCCAGTCAATGGCTA"
)
READS = """\
>exact
GATTACAGGCTTAACC
>one-letter-off
GATTACAGGATTAACC
>one-letter-missing
CCATGGATTTCGAGGC
>reversed
CCAATTCGGACATTAG
>on-two-lines
CGATATCC
TGCAGGTT
"""
MATCH, MISMATCH, GAP = 2, -1, -2


def fasta(text):
    """Pairs of a name and the letters below it."""
    for record in text.split(">")[1:]:
        name, *lines = record.split("\n")
        yield name.split()[0], "".join(lines).upper()


def inputs():
    parts = [Path(part).read_text() for part in config["reads"].split()]
    for part in parts or [READS]:
        yield from fasta(part)


def args_for_action(reads):
    return {"reads": reads, "reference": config["reference"] or REFERENCE}


def action(params):
    reference = params["reference"]
    found = {name: best(letters, reference) for name, letters in params["reads"]}
    cells = sum(len(letters) * len(reference) for _, letters in params["reads"])
    return {"found": found, "cells": cells}


def best(read, reference):
    """The highest score of any part of one with any part of the other, and its end."""
    above = [0] * (len(reference) + 1)
    score, end = 0, 0
    for letter in read:
        row, diagonal = [0], 0
        for column, other in enumerate(reference, 1):
            same = diagonal + (MATCH if letter == other else MISMATCH)
            diagonal = above[column]
            value = max(0, same, diagonal + GAP, row[-1] + GAP)
            row.append(value)
            if value > score:
                score, end = value, column
        above = row
    return {"score": score, "end": end}


def reduce(results):
    found = {}
    for result in results:
        found.update(result["found"])
    return {"reads": len(found), "found": found}
