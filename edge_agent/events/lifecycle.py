"""The verbs of a feed: what OpenWhisk calls its lifecycle events (H21).

`wsk trigger create t --feed /ns/pkg/feed -p k v` calls the feed as an action with
`lifecycleEvent`, `triggerName`, `authKey` and the parameters. A `Lifecycle` checks
those three, keeps the subscriptions of one feed and tells the feed what to watch; what
the parameters mean is the `Feed`'s own. READ answers `{"config": ..., "status": ...}`
(H23), and so do CREATE, UPDATE, PAUSE and UNPAUSE.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from edge_agent.events.base import (
    BuiltinError,
    ConfigError,
    SourceState,
    Subscription,
)
from edge_agent.model.errors import IllegalName
from edge_agent.model.jobs import Identity
from edge_agent.model.names import FullName

#: What H21 adds to a feed's own parameters.
LIFECYCLE_KEYS = ("lifecycleEvent", "triggerName", "authKey")

Arguments = Mapping[str, Any]
Config = dict[str, Any]


class Feed(Protocol):
    """One feed, for its `Lifecycle`."""

    #: The feed's name without the leading slash; subscriptions are kept under it.
    feed: str
    #: What a trigger has of it, for error texts: "MQTT subscription".
    noun: str

    async def accept(
        self, trigger: str, config: Config, before: Subscription | None
    ) -> Config:
        """Check the parameters; `before` is what UPDATE changes.

        Returns:
            What to keep: the parameters, and what was fixed at this moment.

        Raises:
            BuiltinError: naming what is wrong.
        """
        ...

    async def start(self, subscription: Subscription) -> None:
        """Watch for it from now on, in place of what its id had before.

        Raises:
            BuiltinError: it cannot be watched for; what was before is gone.
        """
        ...

    def stop(self, subscription: Subscription, *, deleted: bool) -> None:
        """Watch no longer: it is paused, or gone for good. It may not be there."""
        ...

    def shown(self, subscription: Subscription) -> Config:
        """The parameters for READ, without secrets. Never raises."""
        ...

    def status(self, subscription: Subscription) -> dict[str, Any]:
        """What READ shows beside `active` and `dateChanged`, or in their place."""
        ...


#: The feeds of a node by name: a trigger has one of them at a time.
Feeds = dict[str, Feed]


class Lifecycle:
    """A feed as an action is called. It adds itself to `feeds`."""

    def __init__(
        self,
        feed: Feed,
        state: SourceState,
        *,
        wall_ms: Callable[[], int] = lambda: int(time.time() * 1000),
        feeds: Feeds | None = None,
    ) -> None:
        self._feeds = {} if feeds is None else feeds
        self._feeds[feed.feed] = feed
        self._feed = feed
        self._state = state
        self._wall_ms = wall_ms
        self._verbs: dict[str, Callable[[str, Identity, Arguments], Awaitable[Any]]] = {
            "CREATE": self._create,
            "READ": self._read,
            "UPDATE": self._update,
            "DELETE": self._delete,
            "PAUSE": self._pause,
            "UNPAUSE": self._unpause,
        }

    async def __call__(self, identity: Identity, arguments: Arguments) -> Any:
        """Carry out one verb.

        Raises:
            BuiltinError: what is wrong with the arguments.
        """
        event = arguments.get("lifecycleEvent")
        verb = self._verbs.get(event) if isinstance(event, str) else None
        if verb is None:
            known = ", ".join(self._verbs)
            problem = f"expected one of {known}; got {event!r}"
            raise ConfigError("lifecycleEvent", problem)
        _check_key(identity, arguments.get("authKey"))
        return await verb(_trigger(identity, arguments), identity, arguments)

    # --- verbs ----------------------------------------------------------------------

    async def _create(
        self, trigger: str, identity: Identity, arguments: Arguments
    ) -> Any:
        """Also in place of one that is there: its trigger was deleted without us."""
        config = await self._feed.accept(trigger, _own(arguments), None)
        created = Subscription(
            id=trigger,
            namespace=identity.namespace,
            feed=self._feed.feed,
            config=config,
            changed=self._wall_ms(),
        )
        for feed in self._feeds.values():
            feed.stop(created, deleted=True)
        return await self._keep(created, None)

    async def _update(self, trigger: str, _: Identity, arguments: Arguments) -> Any:
        """Lay the arguments over what there is; null takes one back to its default."""
        before = self._find(trigger)
        merged = {**before.config, **_own(arguments)}
        config = {key: value for key, value in merged.items() if value is not None}
        kept = await self._feed.accept(trigger, config, before)
        return await self._keep(self._changed(before, config=kept), before)

    async def _read(self, trigger: str, _: Identity, __: Arguments) -> Any:
        return self._shown(self._find(trigger))

    async def _delete(self, trigger: str, _: Identity, __: Arguments) -> Any:
        subscription = self._find(trigger)
        self._feed.stop(subscription, deleted=True)
        await self._state.forget(subscription.id)
        return {"deleted": subscription.id}

    async def _pause(self, trigger: str, _: Identity, __: Arguments) -> Any:
        before = self._find(trigger)
        return await self._keep(self._changed(before, active=False), before)

    async def _unpause(self, trigger: str, _: Identity, __: Arguments) -> Any:
        before = self._find(trigger)
        return await self._keep(self._changed(before, active=True), before)

    # --- inside ---------------------------------------------------------------------

    def _changed(self, before: Subscription, **changes: Any) -> Subscription:
        return msgspec.structs.replace(before, changed=self._wall_ms(), **changes)

    async def _keep(self, after: Subscription, before: Subscription | None) -> Any:
        """On disk first: what we watch for is there after a crash as well."""
        await self._state.save(after)
        if not after.active:
            self._feed.stop(after, deleted=False)
            return self._shown(after)
        try:
            await self._feed.start(after)
        except BuiltinError:
            await self._restore(after, before)
            raise
        return self._shown(after)

    async def _restore(self, after: Subscription, before: Subscription | None) -> None:
        """What could not be started is not kept; what it replaced runs again."""
        if before is None:
            self._feed.stop(after, deleted=True)
            await self._state.forget(after.id)
            return
        await self._state.save(before)
        if before.active:
            await self._feed.start(before)

    def _kept(self, trigger: str) -> Subscription | None:
        """This feed's subscription of the trigger."""
        for subscription in self._state.subscriptions(self._feed.feed):
            if subscription.id == trigger:
                return subscription
        return None

    def _find(self, trigger: str) -> Subscription:
        subscription = self._kept(trigger)
        if subscription is None:
            raise BuiltinError(f"the trigger /{trigger} has no {self._feed.noun}")
        return subscription

    def _shown(self, subscription: Subscription) -> dict[str, Any]:
        name = subscription.id.removeprefix(f"{subscription.namespace}/")
        status = {
            "active": subscription.active,
            "dateChanged": subscription.changed,
            **self._feed.status(subscription),
        }
        changed = datetime.fromtimestamp(status["dateChanged"] / 1000, UTC)
        status["dateChangedISO"] = changed.isoformat(timespec="milliseconds")
        own = {"name": name, "namespace": subscription.namespace}
        return {"config": {**own, **self._feed.shown(subscription)}, "status": status}


def _own(arguments: Arguments) -> Config:
    """The subscription's parameters, without what the platform adds."""
    return {
        key: value
        for key, value in arguments.items()
        if key not in LIFECYCLE_KEYS and not key.startswith("__ow_")
    }


def _check_key(identity: Identity, given: Any) -> None:
    if not isinstance(given, str) or not given:
        raise ConfigError("authKey", "is missing; wsk sends the caller's own")
    if not hmac.compare_digest(given.encode(), identity.auth.encode()):
        raise ConfigError("authKey", f"is not a key of {identity.namespace}")


def _trigger(identity: Identity, arguments: Arguments) -> str:
    given = arguments.get("triggerName")
    if not isinstance(given, str) or not given:
        raise ConfigError("triggerName", "is missing; expected /namespace/trigger")
    try:
        name = FullName.parse(given, own=identity.namespace)
    except IllegalName as error:
        raise ConfigError("triggerName", f"{given!r}: {error}") from error
    if name.namespace != identity.namespace:
        problem = f"{given!r} is not in your namespace {identity.namespace}"
        raise ConfigError("triggerName", problem)
    return str(name)
