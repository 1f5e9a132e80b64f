"""From what is there to what is desired, whatever both are."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from controller.manifest.desired import (
    AnyWanted,
    Desired,
    Key,
    WantedAction,
    WantedPackage,
    WantedRule,
    WantedTrigger,
    mark,
)
from controller.manifest.plan import Change, Op, Present, in_order, plan
from edge_agent.model.entities import Exec

NAMES = st.sampled_from(("a", "b", "c", "d"))
Node = dict[Key, Present]


@st.composite
def actions(draw: st.DrawFn) -> WantedAction:
    name = draw(NAMES)
    if draw(st.booleans()):
        name = f"{draw(NAMES)}/{name}"
    if draw(st.booleans()):
        return WantedAction(name=name, exec=Exec(kind="python", code=draw(NAMES)))
    called = [f"/_/{one}" for one in draw(st.lists(NAMES, min_size=1, max_size=2))]
    return WantedAction(name=name, exec=Exec(kind="sequence", components=called))


WISHES = st.one_of(
    actions(),
    st.builds(WantedPackage, name=NAMES, publish=st.booleans()),
    st.builds(WantedTrigger, name=NAMES, feed=st.sampled_from(("", "/whisk.system/f"))),
    st.builds(
        WantedRule,
        name=NAMES,
        trigger=NAMES.map("/_/{}".format),
        action=NAMES.map("/_/{}".format),
    ),
)


@st.composite
def manifests(draw: st.DrawFn, project: str = "mine") -> Desired:
    wishes = draw(st.lists(WISHES, max_size=8, unique_by=lambda one: one.name))
    return Desired(project=project, named=True, file="m.yaml", entities=wishes)


@st.composite
def nodes(draw: st.DrawFn) -> Node:
    """What earlier manifests, other projects and people by hand have left."""
    node = after({}, plan(draw(manifests()), {}, prune=True).changes, "mine")
    for name in draw(st.sets(NAMES, max_size=2)):
        if not any(key.name == name for key in node):
            owner = draw(st.sampled_from((None, "other")))
            node[Key("actions", name)] = Present("0.0.7", owner, "x", "0.0.7")
    touched = draw(st.sets(st.sampled_from(sorted(node)))) if node else set()
    for key in touched:
        there = node[key]
        node[key] = Present("0.0.9", there.project, there.digest, there.written)
    return node


def after(
    node: Mapping[Key, Present], changes: tuple[Change, ...], project: str
) -> Node:
    """A node that does what it is told, and refuses what OpenWhisk refuses."""
    found = dict(node)
    for change in changes:
        if change.op is Op.DELETE:
            del found[change.key]
            continue
        assert change.wanted is not None
        assert (change.op is Op.UPDATE) == (change.key in found)
        taken = [key for key in found if key.name == change.key.name]
        assert taken in ([], [change.key]), "one name, two collections"
        written = mark(
            Desired(project=project, named=True, file="", entities=[]),
            change.wanted,
            change.version,
        ).value
        found[change.key] = Present(
            change.version, project, written["projectHash"], written["version"]
        )
    return found


@given(manifests(), nodes())
def test_a_second_run_changes_nothing(desired: Desired, node: Node) -> None:
    first = plan(desired, node, prune=True)
    if first.conflicts:
        assert not first.changes
        return

    again = plan(desired, after(node, first.changes, "mine"), prune=True)

    assert not again.changes


@given(manifests(), nodes())
def test_only_what_the_project_owns_is_removed_and_nothing_else_is_left(
    desired: Desired, node: Node
) -> None:
    decided = plan(desired, node, prune=True)
    if decided.conflicts:
        return
    left = after(node, decided.changes, "mine")

    wanted = {one.key for one in desired.entities}
    assert {key for key, there in left.items() if there.project == "mine"} == wanted
    strangers = {key for key, there in node.items() if there.project != "mine"}
    assert strangers <= left.keys()


@given(manifests(), nodes())
def test_what_is_as_it_should_be_is_not_written(desired: Desired, node: Node) -> None:
    decided = plan(desired, node, prune=True)

    digests = {one.key: one.digest for one in desired.entities}
    for change in decided.changes:
        if change.op is Op.UPDATE and change.present is not None:
            there = change.present
            same = there.digest == digests[change.key]
            assert not (same and there.project and there.written == there.version)


@given(manifests(), nodes())
def test_without_pruning_nothing_is_removed(desired: Desired, node: Node) -> None:
    changes = plan(desired, node, prune=False).changes

    assert all(change.op is not Op.DELETE for change in changes)


@given(manifests(), nodes())
def test_a_manifest_without_a_name_removes_nothing(
    desired: Desired, node: Node
) -> None:
    nameless = Desired(
        project="mine", named=False, file="m.yaml", entities=desired.entities
    )

    changes = plan(nameless, node, prune=True).changes

    assert all(change.op is not Op.DELETE for change in changes)


@given(manifests())
def test_everything_comes_after_what_it_needs(desired: Desired) -> None:
    ordered = in_order(desired.entities)
    position = {one.key: n for n, one in enumerate(ordered)}

    assert sorted(position) == sorted(one.key for one in desired.entities)
    for one in ordered:
        for need in one.needs:
            if need in position and not _circle(one, need, desired):
                assert position[need] < position[one.key]


def _circle(one: AnyWanted, need: Key, desired: Desired) -> bool:
    """Whether what is needed needs this one in turn."""
    needs = {other.key: other.needs for other in desired.entities}
    seen: set[Key] = set()
    waiting = [need]
    while waiting:
        key = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        waiting += needs.get(key, ())
    return one.key in seen


def test_an_entity_of_another_project_stops_everything_on_the_node() -> None:
    action = WantedAction(name="a", exec=Exec(kind="python", code=""))
    desired = Desired(project="mine", named=True, file="m.yaml", entities=[action])
    node = {Key("actions", "a"): Present("0.0.1", "theirs", "x", "0.0.1")}

    decided = plan(desired, node, prune=True)

    assert not decided.changes
    assert "action a belongs to the project 'theirs'" in decided.conflicts[0]


def test_what_stands_in_the_way_of_a_name_goes_first() -> None:
    trigger = WantedTrigger(name="a")
    desired = Desired(project="mine", named=True, file="m.yaml", entities=[trigger])
    node = {
        Key("actions", "a"): Present("0.0.1", "mine", "x", "0.0.1"),
        Key("actions", "b"): Present("0.0.1", "mine", "x", "0.0.1"),
    }

    ops = [(c.op, str(c.key)) for c in plan(desired, node, prune=True).changes]

    assert ops == [
        (Op.DELETE, "action a"),
        (Op.CREATE, "trigger a"),
        (Op.DELETE, "action b"),
    ]


def test_the_order_of_keys_is_no_difference() -> None:
    one = WantedPackage(name="p", parameters={"a": 1, "b": {"x": 1, "y": 2}})
    two = WantedPackage(name="p", parameters={"b": {"y": 2, "x": 1}, "a": 1})

    assert one.digest == two.digest
    assert one.digest != WantedPackage(name="p", parameters={"a": 1}).digest
