"""JSON for the launcher, at the least cost to a start and to a large payload.

`json` itself costs 8 ms of a start on a small machine: the C parts of it are used by
themselves, and json where they have changed.
"""

# ruff: noqa: ANN001, ANN201, ANN202
# mypy: allow-untyped-defs, allow-untyped-calls
# mypy: disable-error-code="arg-type,assignment,attr-defined,var-annotated"

SMALL = 1 << 16
ESCAPED = [*map(chr, range(32)), '"', "\\"]
MARK = "\0"  # JSON text can hold no bare NUL: it stands for a string
#: Long strings of the last text that was read: nothing in them is to be escaped.
CLEAN = []


def make_codec():
    """`loads(text)` and `dumps(value)`, without importing json where that works."""
    try:
        import _json  # noqa: PLC0415

        loads, dumps = codec_of(_json)
        if dumps(loads('{"a":[1,"\\u00e9"]}')) == '{"a":[1,"é"]}':
            return loads, dumps
    except (ImportError, TypeError, AttributeError):
        pass
    import json  # noqa: PLC0415

    def json_dumps(value):
        return json.dumps(
            value, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        )

    return json.loads, json_dumps


class Scanning:
    """What `_json.make_scanner` reads of a decoder."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = {
        "-Infinity": float("-inf"),
        "Infinity": float("inf"),
        "NaN": float("nan"),
    }.__getitem__


def take_out(text):
    """Put marks for long strings of text without escapes: quotes come in pairs."""
    short, taken, place = "", [], 0
    while len(short) < SMALL:
        begin = text.find('"', place) + 1
        end = text.find('"', begin) if begin else -1
        if end < 0:
            return short + text[place:], taken
        string = text[begin:end]
        if len(string) > SMALL:
            string = f"{MARK}{len(taken)}"
            taken.append(text[begin:end])
        short += text[place:begin] + string + '"'
        place = end + 1
    return text, []


def put_back(value, taken):
    if type(value) is str:
        return taken[int(value[1:])] if value[:1] == MARK else value
    if type(value) is dict:
        return dict(put_back(list(pair), taken) for pair in value.items())
    return [put_back(v, taken) for v in value] if type(value) is list else value


def codec_of(_json):
    scan = _json.make_scanner(Scanning)
    scan_marked = _json.make_scanner(type("_", (Scanning,), {"strict": False}))

    def quote(text):
        """A long text without anything to escape, which finding out costs less."""
        if any(text is one for one in CLEAN):
            return f'"{text}"'
        large = len(text) > SMALL and text.isascii()
        plain = large and not any(map(text.__contains__, ESCAPED))
        return f'"{text}"' if plain else _json.encode_basestring(text)

    encode, encode_large = (
        _json.make_encoder(None, refuse, quoting, None, ":", ",", False, False, False)
        for quoting in (_json.encode_basestring, quote)
    )

    def loads(text):
        large = len(text) > SMALL and "\\" not in text
        short, taken = take_out(text) if large else (text, [])
        CLEAN[:] = taken
        return put_back(scan_marked(short, 0)[0], taken) if taken else scan(text, 0)[0]

    def dumps(value):
        try:
            return "".join((encode_large if has_large(value) else encode)(value, 0))
        finally:
            CLEAN.clear()  # who waits for a request holds on to none

    return loads, dumps


def has_large(value):
    if type(value) is not dict:
        return False
    return any(type(v) is str and len(v) > SMALL for v in value.values())


def refuse(value):
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


loads, dumps = make_codec()
