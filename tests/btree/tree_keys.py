"""Keys that misbehave, and what the tests say of trees in few words."""

import re

import pytest


class Key:
    """A key of the tests' own, ordered by its number; `Key.act`, if set, is called with each comparison."""

    act = None

    def __init__(self, number):
        self.number = number

    def __lt__(self, other):
        if Key.act is not None:
            Key.act(self, other)
        if not isinstance(other, Key):
            return NotImplemented
        return self.number < other.number

    def __repr__(self):
        return f"Key({self.number})"


class LastAct:
    """Does something when it is let go."""

    def __init__(self, act):
        self.act = act

    def __del__(self):
        self.act()


class LastActKey(Key):
    """The same as a key."""

    def __init__(self, number, act):
        super().__init__(number)
        self.last_act = act

    def __del__(self):
        self.last_act()


def refuses(error, words=None):
    """A call that must raise, in exactly these words."""
    return pytest.raises(error, match=None if words is None else f"^{re.escape(words)}$")


def filled(tree, keys, value=str):
    """The tree with these keys, each with a value made of it; `tree` is of any kind."""
    for key in keys:
        put(tree, key, value(key))
    return tree


def put(tree, key, value=None):
    if hasattr(tree, "get_all"):
        tree.add(key, value)
    elif hasattr(tree, "setdefault"):
        tree[key] = value
    else:
        tree.add(key)


def made(Tree, key_type="object", value_type="object"):
    """An empty tree of any kind."""
    return Tree(key_type, value_type) if hasattr(Tree, "values_range") else Tree(key_type)


def key_of(item):
    """The key of an item of a tree of any kind whose keys are no tuples."""
    return item[0] if isinstance(item, tuple) else item
