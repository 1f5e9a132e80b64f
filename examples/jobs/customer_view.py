"""What each customer has ordered: two tables joined.

    edgectl mapreduce run examples/jobs/customer_view.py --set orders=1e6

Stands for the join of the AMPLab benchmark, the third of its queries, as companies know
it: one view of each customer from the systems that hold a part of it. The small table
(customers) goes to every node, the large one (orders) is divided; so no order travels
twice. Both are made here, by the numbers of their rows, and stand for your files.
"""

import random

config = {
    "chunks": 32,
    "customers": 100,
    "orders": 20_000,
    "items": "orders",
    "limits": {"timeout": 60_000, "memory": 256},
}
COUNTRIES = ("DE", "FR", "GR", "US")


def customers():
    return [
        {"id": n, "name": f"customer {n}", "country": COUNTRIES[n % len(COUNTRIES)]}
        for n in range(config["customers"])
    ]


def order(number):
    chance = random.Random(number)
    # Some orders are of customers that nobody knows.
    customer = chance.randrange(config["customers"] + 5)
    return {"customer": customer, "cents": chance.randrange(100, 50_000), "at": number}


def args_for_action(index):
    orders, chunks = config["orders"], config["chunks"]
    return {
        "customers": customers(),
        "first": orders * index // chunks,
        "end": orders * (index + 1) // chunks,
    }


def action(params):
    known = {each["id"]: each for each in params["customers"]}
    view, lost = {}, 0
    for number in range(params["first"], params["end"]):
        found = order(number)
        customer = known.get(found["customer"])
        if customer is None:
            lost += 1
            continue
        add(view.setdefault(customer["name"], empty(customer["country"])), found)
    return {"view": view, "lost": lost, "orders": params["end"] - params["first"]}


def empty(country):
    return {"country": country, "orders": 0, "cents": 0, "last": -1}


def add(line, found):
    line["orders"] += found.get("orders", 1)
    line["cents"] += found["cents"]
    line["last"] = max(line["last"], found.get("last", found.get("at", -1)))


def combine(results):
    both = {"view": {}, "lost": 0, "orders": 0}
    for result in results:
        both["lost"] += result["lost"]
        both["orders"] += result["orders"]
        for name, line in result["view"].items():
            add(both["view"].setdefault(name, empty(line["country"])), line)
    return both


def reduce(results):
    whole = combine(results)
    best = max(whole["view"].items(), key=lambda item: item[1]["cents"])
    return {
        "customers": len(whole["view"]),
        "orders": whole["orders"],
        "lost": whole["lost"],
        "cents": sum(line["cents"] for line in whole["view"].values()),
        "best": {"name": best[0], **best[1]},
    }
