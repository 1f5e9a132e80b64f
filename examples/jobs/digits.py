"""A thousand pictures of handwritten digits, told by a machine that was taught here.

    edgectl mapreduce run examples/jobs/digits.py

Stands for the image classification of the prior work (952 pictures of ImageNet on 100
functions; MNIST on public clouds): many small calls of a large library, all at once.
The pictures and the teaching are scikit-learn's: each node teaches itself once, with
the first chunk it gets, from the pictures that are not asked for.

`requirements` makes the action an archive with a requirements.txt: a node installs it
once, and other runs find it there.
"""

config = {
    "chunks": 100,
    "pictures": 1000,
    "requirements": ["scikit-learn"],
    "items": "pictures",
    "limits": {"timeout": 120_000, "memory": 512},
}
TAUGHT = {}


def args_for_action(index):
    pictures, chunks = config["pictures"], config["chunks"]
    return {
        "of": pictures,
        "first": pictures * index // chunks,
        "end": pictures * (index + 1) // chunks,
    }


def action(params):
    pictures, digits, machine = taught(params["of"])
    some = slice(params["first"], params["end"])
    told = machine.predict(pictures[some])
    right = int((told == digits[some]).sum())
    return {
        "told": [int(digit) for digit in told],
        "right": right,
        "pictures": len(told),
    }


def taught(asked):
    """Pictures, digits, and the machine; kept while the sandbox is warm."""
    if asked not in TAUGHT:
        # Here, as only the nodes have it.
        from sklearn.datasets import load_digits  # noqa: PLC0415
        from sklearn.svm import SVC  # noqa: PLC0415

        pictures, digits = load_digits(return_X_y=True)
        machine = SVC(gamma=0.001).fit(pictures[asked:], digits[asked:])
        TAUGHT[asked] = pictures, digits, machine
    return TAUGHT[asked]


def reduce(results):
    pictures = sum(result["pictures"] for result in results)
    right = sum(result["right"] for result in results)
    counts = [0] * 10
    for result in results:
        for digit in result["told"]:
            counts[digit] += 1
    return {"pictures": pictures, "accuracy": right / pictures, "digits": counts}
