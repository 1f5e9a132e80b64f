from __future__ import annotations

import pytest

from controller.mapreduce.examples import example


@pytest.mark.parametrize(
    "name", ["jobs/pi.py", "actions/weather.py", "data/seattle-daily-2015.csv"]
)
def test_an_example_is_found(name: str) -> None:
    assert example(name).is_file()


def test_an_example_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"no example jobs/e\.py"):
        example("jobs/e.py")
