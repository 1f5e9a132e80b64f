"""A real store in a temporary folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from edge_agent.settings import Store as StoreSettings
from edge_agent.store.store import Store


@pytest.fixture
def open_store(tmp_path: Path) -> Callable[..., Store]:
    def make(**settings: int) -> Store:
        return Store(tmp_path / "data", StoreSettings(**settings))

    return make


@pytest.fixture
async def store(open_store: Callable[..., Store]) -> AsyncIterator[Store]:
    async with open_store() as store:
        yield store
