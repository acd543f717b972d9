"""The letters that are looked for before a secret's shape: without them the shape is never there."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.secrets import _SHAPES, _SHORTEST_SHAPE, find_secret


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_whatever_fits_a_shape_holds_its_letters_and_is_found(data: st.DataObject) -> None:
    kind, letters, shape = data.draw(st.sampled_from(_SHAPES))
    plain = shape.pattern.replace(r"\b", "").replace("+)", ")").replace("}+", "}").replace(r"\Z", "")
    text = data.draw(st.from_regex(re.compile(plain, shape.flags), fullmatch=True))
    found = shape.search(text)
    if found is None:
        return  # what stands for a word's edge was left out above
    assert any(some in found[0] for some in letters), kind
    assert len(found[0]) >= _SHORTEST_SHAPE
    assert find_secret(text)
