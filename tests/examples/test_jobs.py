"""The example jobs: honest Monte Carlo, and the same answer on any fleet."""

from __future__ import annotations

import asyncio
import base64
import functools
import http.server
import io
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.fleet.target import Target
from controller.mapreduce.errors import RunFailed
from controller.mapreduce.job_file import load_job
from controller.mapreduce.progress import Progress, Report
from controller.mapreduce.run import run_job

Load = Callable[[str], dict[str, Any]]


# --- pi.py, as mathematics ----------------------------------------------------------


def test_cells_wholly_inside_and_outside_are_told_apart(load: Load) -> None:
    job = load("jobs/pi.py")
    rows, columns = job["ROWS"], job["COLUMNS"]
    for row in range(rows):
        for column in range(columns):
            near = (row / rows) ** 2 + (column / columns) ** 2
            far = ((row + 1) / rows) ** 2 + ((column + 1) / columns) ** 2
            assert (column < job["INSIDE"][row]) == (far <= 1)
            assert (column <= job["TOUCHED"][row]) == (near < 1)


@pytest.mark.parametrize("count", [0, 1, 7, 1000])
def test_a_batch_counts_what_a_plain_loop_counts(load: Load, count: int) -> None:
    job = load("jobs/pi.py")
    found = job["throw"](random.Random(count), count)  # noqa: S311
    again = random.Random(count)  # noqa: S311
    rows = again.randbytes(count)
    cells = again.getrandbits(8 * count) if count else 0
    plain = 0
    for row, column in zip(rows, cells.to_bytes(count, "little"), strict=True):
        y = column & 0x7F
        inside, touched = job["INSIDE"][row], job["TOUCHED"][row]
        if inside <= y <= touched:
            x_exact = (row + again.random()) / job["ROWS"]
            y_exact = (y + again.random()) / job["COLUMNS"]
            plain += x_exact**2 + y_exact**2 < 1
        else:
            plain += y < inside
    assert found == plain


def test_pi_is_within_what_chance_allows(load: Load) -> None:
    job = load("jobs/pi.py")
    job["config"].update(points=4_000_000, chunks=7)
    results = [job["action"](job["args_for_action"](n)) for n in range(7)]
    reduced = job["reduce"](results)
    assert reduced["points"] == 4_000_000
    assert reduced["error"] == abs(reduced["pi"] - math.pi)
    assert reduced["error"] < 4 * reduced["stderr"]
    expected = 4 * math.sqrt(math.pi / 4 * (1 - math.pi / 4) / 4_000_000)
    assert reduced["stderr"] == pytest.approx(expected, rel=0.01)


def test_each_chunk_has_points_of_its_own_and_the_same_each_time(load: Load) -> None:
    job = load("jobs/pi.py")
    job["config"].update(points=1_000_000, chunks=10)
    arguments = [job["args_for_action"](n) for n in range(10)]
    first = [job["action"](each)["inside"] for each in arguments]
    assert len(set(first)) > 5
    assert [job["action"](each)["inside"] for each in arguments] == first


# --- both jobs, on real agents ------------------------------------------------------


@pytest.fixture(scope="module")
def targets(shared_agent_factory: Callable[..., Any]) -> list[Target]:
    agents = [shared_agent_factory() for _ in range(2)]
    return [
        Target(agent.url, agent.key, name=f"node{number}")
        for number, agent in enumerate(agents, 1)
    ]


async def compute(job: Path, targets: list[Target], **settings: str) -> Report:
    return await run_job(job, targets, settings=settings)


@pytest.mark.parametrize(
    ("name", "chunks"),
    [("pi.py", "chunks"), pytest.param("pi.js", "numActions", marks=pytest.mark.node)],
)
async def test_pi_on_two_agents(
    examples: Path, targets: list[Target], name: str, chunks: str
) -> None:
    settings = {"points": "2e6", chunks: "12"}
    report = await compute(examples / "jobs" / name, targets, **settings)
    assert report.chunks == sum(node.chunks for node in report.nodes) == 12
    assert report.result["points"] == 2_000_000
    assert report.result["error"] < 5 * report.result["stderr"]
    alone = await compute(examples / "jobs" / name, targets[:1], **settings)
    assert alone.result == report.result


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_pi_is_the_same_when_an_agent_is_killed_on_the_way(
    examples: Path, agent_factory: Callable[..., Any]
) -> None:
    agents = [agent_factory() for _ in range(3)]
    targets = [Target(a.url, a.key, name=f"node{n}") for n, a in enumerate(agents, 1)]
    settings = {"points": "5e7", "chunks": "100"}
    killing: list[asyncio.Future[None]] = []

    def kill_at_a_third(progress: Progress) -> None:
        if progress.completed >= 33 and not killing:
            loop = asyncio.get_running_loop()
            killing.append(loop.run_in_executor(None, agents[0].kill))

    report = await run_job(
        examples / "jobs/pi.py",
        targets,
        settings=settings,
        on_progress=kill_at_a_third,
    )
    await killing[0]
    assert sum(node.chunks for node in report.nodes) == 100
    assert report.nodes[0].failures > 0
    left = await compute(examples / "jobs/pi.py", targets[1:], **settings)
    assert left.result == report.result


async def test_limits_above_what_nodes_allow_are_told(
    examples: Path, targets: list[Target]
) -> None:
    with pytest.raises(
        RunFailed, match=r"no node takes the job: node1, node2: .*512 MB"
    ):
        await compute(examples / "jobs/pi.py", targets, **{"limits.memory": "9999"})


# --- the other applications -----------------------------------------------------------


async def test_a_thousand_digits_of_pi_are_all_right(
    examples: Path, targets: list[Target]
) -> None:
    job = examples / "jobs/pi_digits.py"
    report = await compute(job, targets, digits="1000", chunks="20")
    digits = report.result["pi"]
    assert digits.startswith("3.14159265358979323846264338327950288419716939937510")
    assert digits.endswith("2164201989")  # the thousandth and those before
    assert len(digits) == 1002
    assert report.chunks == 20


async def test_the_product_of_two_matrices_is_proved(
    examples: Path, targets: list[Target]
) -> None:
    report = await compute(examples / "jobs/matrix.py", targets, size="48", chunks="7")
    assert report.result["right"] is True
    assert report.result["gflops_of_a_slot"] > 0


@pytest.mark.node
async def test_binary_trees_have_as_many_nodes_as_they_must(
    examples: Path, targets: list[Target]
) -> None:
    settings = {"depth": "6", "trees": "20", "numActions": "6"}
    report = await compute(examples / "jobs/trees.js", targets, **settings)
    assert report.result == {"nodes": 20 * 127, "right": True}


async def test_words_are_counted(
    examples: Path, targets: list[Target], tmp_path: Path
) -> None:
    text = "The cat and the dog.\n\nAnd the CAT!\n"
    (tmp_path / "text").write_text(20 * text)
    inputs = str(tmp_path / "text")
    job = examples / "jobs/word_count.py"
    report = await compute(job, targets, inputs=inputs, most="2")
    most = {"the": 60, "and": 40}
    assert report.result == {"words": 160, "different": 4, "most": most}


class Store(http.server.SimpleHTTPRequestHandler):
    """A busy one: every third GET is refused."""

    asked = 0

    def do_GET(self) -> None:
        Store.asked += 1
        if Store.asked % 3 == 0:
            self.send_error(503)
            return
        super().do_GET()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    serve = functools.partial(Store, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/part-{{part:05}}.csv"
        server.shutdown()
        thread.join()


async def test_a_big_table_in_a_store_is_scanned_and_added_up(
    examples: Path, targets: list[Target], tmp_path: Path, store: str
) -> None:
    for part in range(4):
        ranks = (f"url{part}-{n},{500 * n + part},{n}\n" for n in range(50))
        (tmp_path / f"part-{part:05}.csv").write_text("".join(ranks))
    job = examples / "jobs/big_data.py"
    scanned = await compute(job, targets, store=store, chunks="4")
    highest = ["url3-49", 24503]
    # Ranks of 500 * n + part above 1000: n > 2, and n = 2 in the parts after the first.
    assert scanned.result == {"rows": 200, "found": 4 * 47 + 3, "highest": highest}
    for part in range(4):
        visits = (f"10.0.{n % 3}.{n},page,2012-01-01,0.{n:02}\n" for n in range(60))
        (tmp_path / f"part-{part:05}.csv").write_text("".join(visits))
    added = await compute(
        job, targets, store=store, chunks="4", query="aggregate", x="6"
    )
    assert (added.result["rows"], added.result["groups"]) == (240, 3)
    assert added.result["cents"] == 4 * sum(range(60))
    assert added.result["top"]["10.0.2"] == 4 * sum(range(2, 60, 3))


async def test_customers_and_orders_are_joined(
    examples: Path, targets: list[Target], load: Load
) -> None:
    job = load("jobs/customer_view.py")
    orders = [job["order"](n) for n in range(2000)]
    report = await compute(
        examples / "jobs/customer_view.py", targets, orders="2000", chunks="12"
    )
    known = [order for order in orders if order["customer"] < 100]
    assert report.result["orders"] == 2000
    assert report.result["lost"] == 2000 - len(known)
    assert report.result["cents"] == sum(order["cents"] for order in known)


async def test_reads_are_aligned(
    examples: Path, targets: list[Target], tmp_path: Path
) -> None:
    job = examples / "jobs/alignment.py"
    found = (await compute(job, targets)).result["found"]
    assert found["exact"] == {"score": 32, "end": 70}
    assert found["one-letter-off"] == {"score": 29, "end": 70}
    assert found["on-two-lines"]["score"] == 32
    assert found["reversed"]["score"] < 20
    parts = []
    for part in ("ab", "cd"):
        parts.append(tmp_path / f"{part}.fasta")
        parts[-1].write_text("".join(f">{name}\nACGTACGT\n" for name in part))
    reads = " ".join(map(str, parts))
    report = await compute(job, targets, reads=reads, reference="TTTACGTAAGTTT")
    # ACGTA, a mismatch, GT.
    assert report.result["found"] == {name: {"score": 13, "end": 11} for name in "abcd"}


def test_pictures_ask_for_the_library_that_tells_them(examples: Path) -> None:
    job = load_job(examples / "jobs/digits.py", settings={"chunks": "5"})
    code = base64.b64decode(job.actions[""].code)
    with zipfile.ZipFile(io.BytesIO(code)) as archive:
        assert archive.read("requirements.txt") == b"scikit-learn\n"
    parts = [{"told": [3, 3], "right": 1, "pictures": 2}] * 2
    reduced = job.reduce(parts)
    assert reduced.value["accuracy"] == 0.5
    assert reduced.value["digits"][3] == 4


@pytest.fixture
def packages() -> Iterator[Path]:
    """Where sandboxes may look, which is not below /tmp; and no other agent's."""
    folder = Path(tempfile.mkdtemp(prefix="edgewhisk-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(
    os.environ.get("EW_EXAMPLES") != "full",
    reason="downloads scikit-learn and all it needs: EW_EXAMPLES=full",
)
async def test_a_thousand_pictures_are_told(
    examples: Path,
    agent_factory: Callable[..., Any],
    pytestconfig: pytest.Config,
    packages: Path,
) -> None:
    assert pytestconfig.cache is not None
    wheels = pytestconfig.cache.mkdir("wheels")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--prefer-binary"]
    command += ["--only-binary=:all:", "-d", str(wheels), "scikit-learn"]
    subprocess.run(command, check=True)
    lines = [f'wheels = "{wheels}"', f'packages = "{packages}"']
    agent = agent_factory(settings="\n".join(["[runtimes.python]", *lines, ""]))
    target = Target(agent.url, agent.key, name="node")
    report = await compute(examples / "jobs/digits.py", [target])
    assert report.result["pictures"] == sum(report.result["digits"]) == 1000
    assert report.result["accuracy"] > 0.9
