"""An automaton that finds phrases as whole words in normalised text, one character at a time.

Between the words of a phrase it accepts any characters that are no letters or digits. A phrase has occurred once the
character after it, or the end of the text, shows that its last word is whole. Signs at the ends of a phrase, as in
C++, are read as they stand.

States are sets of places in a tree of all phrases, numbered as they are found (the subset construction), so that a
step is one look into a table, for one text or for all tokens of a vocabulary at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lmalgebra.models.constraints.characters import ALONE, GAP, WORD, kind, normalised

FIRST_SYMBOL = 3
"""Symbols below are the kinds of characters that no phrase has; then comes each that some phrase has."""


@dataclass(eq=False)
class Node:
    """A place in the tree: `after` each symbol, or after a `gap`; `ends` has a bit for each phrase that ends here.

    `within` says whether the last character needs to be the last of its word.
    """

    after: dict[int, "Node"] = field(default_factory=dict)
    gap: "Node | None" = None
    is_gap: bool = False
    ends: int = 0
    within: bool = False


State = tuple[frozenset[Node], bool]
"""The places that the text may be at, and whether a word may begin with the next character."""


class PhraseAutomaton:
    """Finds `phrases`; those at one index, `phrases[i]`, are forms of one thing, which has the bit `1 << i`.

    `step[state, symbol]` is the next state, `found[state, symbol]` what is then known to have occurred, and
    `pending[state]` what will have if the text ends. State 0 is that of an empty text.
    """

    def __init__(self, phrases: Sequence[Sequence[str]]) -> None:
        characters = {each for forms in phrases for form in forms for each in normalised(form) if not each.isspace()}
        self.symbols = {each: number for number, each in enumerate(sorted(characters), FIRST_SYMBOL)}
        self._kinds = [GAP, WORD, ALONE, *map(kind, self.symbols)]
        self.root = Node()
        for index, forms in enumerate(phrases):
            for form in forms:
                self.path(form)[-1].ends |= 1 << index
        self.states: list[State] = [(frozenset(), True)]
        self._number_states()

    def path(self, phrase: str) -> list[Node]:
        """The places of a phrase: the root, and one after each character; those that share a gap are one."""
        nodes, text = [self.root], normalised(phrase).strip()
        first = next((i for i, each in enumerate(text) if kind(each) != GAP), len(text))
        last = next((i for i in range(len(text) - 1, -1, -1) if kind(text[i]) != GAP), -1)
        for i, each in enumerate(text):
            is_gap = each.isspace() or (kind(each) == GAP and first < i < last)
            nodes.append(self._after_gap(nodes[-1]) if is_gap else self._after(nodes[-1], each))
        return nodes

    def _after(self, node: Node, character: str) -> Node:
        return node.after.setdefault(self.symbols[character], Node(within=kind(character) == WORD))

    def _after_gap(self, node: Node) -> Node:
        if node.is_gap:
            return node
        node.gap = node.gap or Node(is_gap=True)
        return node.gap

    def _number_states(self) -> None:
        numbers = {self.states[0]: 0}
        steps, found = [], []
        for state in self.states:  # grows meanwhile
            outcomes = [self._next(state, symbol) for symbol in range(len(self._kinds))]
            for after, _ in outcomes:
                if after not in numbers:
                    numbers[after] = len(self.states)
                    self.states.append(after)
            steps.append([numbers[after] for after, _ in outcomes])
            found.append([bits for _, bits in outcomes])
        self.step = np.array(steps, np.int32)
        self.found = np.array(found, np.int64)
        self.pending = np.array([_whole(nodes) for nodes, _ in self.states], np.int64)

    def _next(self, state: State, symbol: int) -> tuple[State, int]:
        """The state after one more character, and what the character shows to have occurred."""
        nodes, begins = state
        its = self._kinds[symbol]
        if its == WORD:
            sources = (*nodes, self.root) if begins else nodes
            return (frozenset(node.after[symbol] for node in sources if symbol in node.after), False), 0
        reached = {node.after[symbol] for node in (*nodes, self.root) if symbol in node.after}
        bits = _whole(nodes)
        for node in reached:
            bits |= node.ends
        if its == GAP:
            reached |= {node for node in nodes if node.is_gap} | {node.gap for node in nodes if node.gap}
        return (frozenset(reached), True), bits

    def symbol(self, character: str) -> int:
        """The symbol of a normalised character."""
        return self.symbols.get(character, kind(character))


def _whole(nodes: frozenset[Node]) -> int:
    """The phrases that end at these places if no letter follows."""
    bits = 0
    for node in nodes:
        if node.within:
            bits |= node.ends
    return bits
