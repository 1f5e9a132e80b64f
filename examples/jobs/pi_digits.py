"""Pi to any number of digits, every one of them right.

    edgectl mapreduce run examples/jobs/pi_digits.py --set digits=1e5

Stands for the pi of Serverless-Supercomputing, whose Monte Carlo gives four digits for
a hundred million points: the same constant by a computation that can be checked.

The series of the Chudnovsky brothers gives 14 digits with each term. A range of terms
comes to three whole numbers (P, Q, T), and those of two neighbouring ranges to those of
both together: `combine`, in whatever groups, as long as the order stays. So the nodes
put their own ranges together, and what travels is short. Numbers travel as hexadecimal
text: JSON's have 53 bits for most readers.
"""

import math

config = {"chunks": 64, "digits": 10_000, "limits": {"timeout": 60_000, "memory": 256}}

DIGITS_OF_A_TERM = 14.18
GUARD = 20


def args_for_action(index):
    terms = int(config["digits"] / DIGITS_OF_A_TERM) + 2
    chunks = config["chunks"]
    return {
        "first": 1 + (terms - 1) * index // chunks,
        "end": 1 + (terms - 1) * (index + 1) // chunks,
    }


def action(params):
    return sent(terms(params["first"], params["end"]))


def combine(results):
    return sent(joined(taken(result) for result in results))


def reduce(results):
    _, q, t = joined(taken(result) for result in results)
    digits = config["digits"]
    one = 10 ** (digits + GUARD)
    root = math.isqrt(10005 * one * one)
    pi = (426880 * root * q) // (13591409 * q + t) // 10**GUARD
    return {"pi": decimal(pi, digits), "digits": digits}


def terms(first, end):
    """P, Q, T of the terms from `first` to before `end`, by halves."""
    if end <= first:
        return 1, 1, 0
    if end - first == 1:
        p = -(6 * first - 5) * (2 * first - 1) * (6 * first - 1)
        return p, 10939058860032000 * first**3, p * (545140134 * first + 13591409)
    middle = (first + end) // 2
    return both(terms(first, middle), terms(middle, end))


def both(left, right):
    return (
        left[0] * right[0],
        left[1] * right[1],
        left[2] * right[1] + left[0] * right[2],
    )


def joined(ranges):
    """Neighbours with neighbours: numbers of like length multiply fastest."""
    ranges = list(ranges)
    while len(ranges) > 1:
        pairs = zip(ranges[::2], ranges[1::2], strict=False)
        rest = ranges[-1:] if len(ranges) % 2 else []
        ranges = [both(left, right) for left, right in pairs] + rest
    return ranges[0]


def sent(numbers):
    return {"pqt": [format(number, "x") for number in numbers]}


def taken(result):
    return [int(text, 16) for text in result["pqt"]]


def decimal(number, digits):
    """`3.14...`: Python turns no number of more than 4,300 digits into text at once."""
    parts, block = [], 10**4000
    while number:
        number, part = divmod(number, block)
        parts.append(str(part).zfill(4000) if number else str(part))
    text = "".join(reversed(parts))
    return f"{text[:-digits]}.{text[-digits:]}"
