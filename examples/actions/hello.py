"""Shows the least an action can be: parameters in, a JSON object out.

edgectl action put hello examples/actions/hello.py
edgectl action invoke hello -p name Ada
"""


def main(params):
    name = params.get("name", "stranger")
    return {"greeting": f"Hello, {name}!"}
