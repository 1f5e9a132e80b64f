"""Other people's lines in `.wskprops` stay."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.fleet.properties import properties_of, with_properties
from controller.fleet.target import Target, parse_properties

LINES = st.lists(
    st.sampled_from(
        ["# mine", "", "APIHOST=old", "AUTH=a=b", "X = y", "no sense", "CA=1", "X=2"]
    )
)
CHANGES = st.dictionaries(
    st.sampled_from(["APIHOST", "AUTH", "NEW"]), st.none() | st.just("new")
)


@given(LINES, CHANGES)
def test_f7_what_is_set_is_set_and_all_else_stays(
    lines: list[str], changes: dict[str, str | None]
) -> None:
    text = "".join(f"{line}\n" for line in lines)

    after = with_properties(text, changes)

    before = parse_properties(text)
    wanted = {k: v for k, v in {**before, **changes}.items() if v is not None}
    assert parse_properties(after) == wanted
    others = [line for line in lines if line.split("=")[0] not in changes]
    assert [line for line in after.splitlines() if line in others] == others
    assert with_properties(after, changes) == after


def test_f7_a_target_is_what_wsk_needs() -> None:
    assert properties_of(Target("https://pi", "u:k", name="pi")) == {
        "APIHOST": "https://pi",
        "AUTH": "u:k",
        "NAMESPACE": "_",
        "EDGEWHISK_CA": None,
    }
