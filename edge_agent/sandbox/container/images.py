"""Images: which may be used, by which digest, and how they come here.

A name is used as its owner writes it; what is run is the id of the image that was found
for it, so that a tag which moves meanwhile changes nothing. A pin demands a digest: the
one the image was pulled by, or its own id.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from fnmatch import fnmatchcase

from edge_agent.sandbox.base import ActionToBlame
from edge_agent.sandbox.container.engine import Engine, EngineError, Image

#: At most so often one image's pull is told of.
PROGRESS_S = 2.0
DEFAULT_TAG = "latest"
NOT_ALLOWED = "It is not among the images that this node allows."
#: Docker's grammar of a reference; so no name is a path into the engine's API.
_HOST = r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_TAG = r":[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}"
_NAME = re.compile(
    rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*(?:{_TAG})?(?:@sha256:[0-9a-f]{{64}})?"
)
MOST_LETTERS = 512

_log = logging.getLogger(__name__)


class Images:
    """Those of one engine; each is pulled once, however many wait for it."""

    def __init__(
        self,
        engine: Engine,
        *,
        allowed: Sequence[str],
        pins: Mapping[str, str],
        pull: bool,
        pull_timeout_s: float,
    ) -> None:
        self._engine = engine
        self._allowed = allowed
        self._pins = pins
        self._pull_missing = pull
        self._pull_timeout_s = pull_timeout_s
        self._pulls: dict[str, asyncio.Task[None]] = {}

    def allows(self, name: str) -> bool:
        return is_name(name) and is_allowed(name, self._allowed)

    async def find(self, name: str, *, trusted: bool) -> str:
        """The id of the image to run; pulls it when it is not here.

        Args:
            name: as the action or the settings name it.
            trusted: the settings name it: then it need not be allowed.

        Raises:
            ActionToBlame: it is not allowed or cannot be had (C17).
        """
        if not trusted and not self.allows(name):
            raise cannot_pull(name, NOT_ALLOWED)
        pin = self._pins.get(name, "")
        wanted = pinned(name, pin)
        image = await self._engine.image(wanted) or await self._engine.image(name)
        if image is None or not _agrees(image, pin):
            await self._pull(name, wanted)
            image = await self._engine.image(wanted)
        if image is None or not _agrees(image, pin):
            raise cannot_pull(name, f"It is not {pin}." if pin else "")
        return image.id

    async def close(self) -> None:
        """End the pulls that are under way."""
        pulls = list(self._pulls.values())
        for task in pulls:
            task.cancel()
        await asyncio.gather(*pulls, return_exceptions=True)

    async def _pull(self, name: str, wanted: str) -> None:
        """Whoever stops waiting does not stop the pull: the next one finds it done."""
        if not self._pull_missing:
            raise cannot_pull(name, "It is not on this node, and the node pulls none.")
        task = self._pulls.get(wanted)
        if task is None:
            task = asyncio.create_task(self._pull_now(wanted), name=f"pull {wanted}")
            self._pulls[wanted] = task
            task.add_done_callback(lambda done: self._pulled(wanted, done))
        try:
            await asyncio.shield(task)
        except (EngineError, TimeoutError) as error:
            _log.warning("image %s cannot be pulled: %s", wanted, error)
            raise cannot_pull(name) from error

    def _pulled(self, wanted: str, done: asyncio.Task[None]) -> None:
        del self._pulls[wanted]
        if not done.cancelled():
            done.exception()  # told by whoever waits; if nobody does, it is seen here

    async def _pull_now(self, wanted: str) -> None:
        _log.info("pulling image %s", wanted)
        loop = asyncio.get_running_loop()
        told = loop.time()
        async with (
            asyncio.timeout(self._pull_timeout_s),
            aclosing(self._engine.pull(wanted)) as lines,
        ):
            async for line in lines:
                if loop.time() - told >= PROGRESS_S:
                    told = loop.time()
                    _log.info("pulling image %s: %s", wanted, line)
        _log.info("image %s is here", wanted)


def cannot_pull(name: str, why: str = "") -> ActionToBlame:
    """C17, with the reason behind it where it is one that the user can act on."""
    return ActionToBlame(f"Failed to pull container image '{name}'. {why}".rstrip())


def is_name(name: str) -> bool:
    return len(name) <= MOST_LETTERS and _NAME.fullmatch(name) is not None


def is_allowed(name: str, patterns: Sequence[str]) -> bool:
    """Whether one of `patterns` matches it, and none that begins with `!` does."""
    allowed = [p for p in patterns if not p.startswith("!")]
    refused = [p[1:] for p in patterns if p.startswith("!")]
    return _matches(name, allowed) and not _matches(name, refused)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def pinned(name: str, pin: str) -> str:
    """What to pull: the pin's digest, else the name's own or its tag.

    Without a tag an engine would pull all of them.
    """
    if "@" in name:
        return name
    repository, colon, _ = name.rpartition(":")
    tagged = bool(colon) and "/" not in name[len(repository) :]
    if pin:
        return f"{repository if tagged else name}@{pin}"
    return name if tagged else f"{name}:{DEFAULT_TAG}"


def _agrees(image: Image, pin: str) -> bool:
    return not pin or pin == image.id or pin in image.digests
