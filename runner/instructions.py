"""The thing that a goal moves and its target, where the goal is a sentence that leaves no doubt of them.

A grammar of whole sentences: what it does not describe is not understood. So no list has to foresee what
could turn an instruction around, such as "and back", "towards", "but not", or a second instruction.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from runner.colours import COLOUR_NAMES, Colour, colour_mentions, named_colour

MOVES = (
    ("bring|carry|deliver|drag|get|move|relocate|roll|shift|slide|take|transfer", "to|into|onto"),
    ("push|pull", "to|onto"),
    ("drop|lift|throw", "into|onto"),
    ("put|place|set|lay|insert|deposit|stack|position", "in|inside|into|on|onto|upon|on top of"),
)
"""Verbs, and the prepositions with which they state where the thing ends.

*In* and *on* do so only with verbs that need a place; with others, they may state where the thing is. What is
pushed *into* something may be a button.
"""
PICK_UP = "pick up|pick|grab|grasp|take|lift|get"
"""Verbs that may stand before *and* and one of ``MOVES`` with *it*."""
UNDERSTOOD = (
    *(f"{verbs} THING {words} TARGET".replace("|", ", ") for verbs, words in MOVES),
    f"{PICK_UP} THING and (one of these, with it for THING)".replace("|", ", "),
    "THING to, into, onto TARGET",
)
"""The sentences that name a thing and its target, in words."""

_KINDS = (
    r"big|large|small|little|tiny|tall|short|long|round|square|flat|empty|full|bright|soft|"
    r"plastic|wooden|metal|rubber|foam|paper|ceramic|toy"
)
"""Words that may stand beside a colour, and leave no doubt which noun it belongs to."""
_PLACE_BEFORE = (
    r"in|into|inside|on|onto|upon|to|toward|towards|at|by|from|off|out|over|under|above|below|behind|beside|"
    r"between|through|along|across|near|past|around|with|without|away|next|close"
)
"""Words that begin a phrase of place or means."""
_NO_NOUN = (
    rf"{_PLACE_BEFORE}|of|up|down|back|again|once|twice|never|not|no|only|also|too|and|or|but|nor|then|than|"
    r"while|until|till|if|unless|so|as|because|before|after|instead|except|when|where|which|that|who|"
    r"it|its|them|this|these|those|there|here|is|are|was|be"
)
"""Words that are no nouns here; any other word is one."""
_WORD = rf"(?!(?:{_NO_NOUN})\b)[^\W\d_]+(?![\w'’-])"
_ONE = rf"(?:{_WORD})(?:(?<!s)|(?<=ss)|(?<=us))"
"""A noun in the singular."""
_THE = r"(?:(?:the|a|an|this|that|its) )?"
_ADVERB = (
    r"(?:carefully|cautiously|gently|softly|lightly|slowly|smoothly|quickly|steadily|firmly|safely|neatly|"
    r"precisely|accurately|directly)"
)
_ROBOT = (
    r"(?:(?:the|a|an|its) )?(?:(?:left|right|robot|robotic|robot's|mechanical|humanoid|human) )*"
    r"(?:arm|gripper|hand|manipulator|robot|humanoid|person|man|woman)"
)


def _named(role: str) -> str:
    """A pattern for a colour and one noun; of two ("the green light switch"), either may have the colour."""
    kinds = rf"(?:(?:{_KINDS}) )*"
    return rf"{_THE}{kinds}(?P<{role}>{COLOUR_NAMES}) {kinds}{_ONE}"


def _verb(verbs: str) -> str:
    """A pattern for any of ``verbs``, separated by bars, as *move* or *moves*."""
    forms = re.sub(r"\w+(?= up\b|\||$)", r"\g<0>(?:e?s)?", verbs)
    return f"(?:{forms.replace('carry(?:e?s)?', 'carr(?:y|ies)')})"


_THING = rf"(?:{_named('thing')}|{_THE}(?P<fruit>orange))(?: (?:up|down|{_ADVERB}))*"
"""A pattern for the thing; *the orange* needs no noun."""
_TARGET = rf"(?:the )?(?:(?:middle|center|centre|inside) of )?{_named('target')}"
_BEGIN = rf"(?:please,? )?(?:{_ROBOT} )?(?:{_ADVERB} )?"
_END = (
    rf"(?: {_ADVERB})?(?: from {_THE}(?:{_WORD} )?{_WORD})?(?: (?:with|using) {_ROBOT})?"
    r"(?:,? and (?:lets? go|releases? it|lets? it go))?[.!]?"
)
_SITE = rf"{_THE}(?:{_WORD} ){{0,2}}{_WORD}(?: in front of (?:it|{_ROBOT}))?"
_ON_THE_WAY = rf"(?: (?:from|off|out of|in|on|past|around|over|across) {_SITE})?"
"""A pattern for where the thing comes from or what it passes."""

_HANDLING = "|".join([PICK_UP, *(verbs for verbs, _ in MOVES), "raise"])
_STAYING = ("in", "inside", "on", "upon", "on top of")
_THEN = r"(?:,? and then|,? and|,? then|,)"
_RAISE = rf"(?:{_THEN} {_verb('lift|raise')} it(?: up)?)?"


def _arriving(prepositions: str) -> str:
    """A pattern for arriving. *In* and *on* follow no place: "cube on a table in the bowl" may be a thing."""
    words = prepositions.split("|")
    bringing, staying = (
        "|".join(word for word in words if (word in _STAYING) == stays) for stays in (False, True)
    )
    return rf"(?:{_ON_THE_WAY} (?:{bringing})" + (rf"| (?:{staying}))" if staying else ")")


_FORMS = tuple(
    re.compile(rf"{_BEGIN}{form} {_TARGET}{_END}", re.IGNORECASE)
    for form in (
        *(rf"{_verb(verbs)} {_THING}{_arriving(words)}" for verbs, words in MOVES),
        *(
            rf"{_verb(PICK_UP)} {_THING}{_ON_THE_WAY}{_RAISE}{_THEN} {_verb(verbs)} it(?: {_ADVERB})?"
            rf" (?:{words})"
            for verbs, words in MOVES
        ),
        rf"{_THING}{_ON_THE_WAY} (?:to|into|onto)",
    )
)
_THING_ALONE = re.compile(
    rf"{_BEGIN}(?:{_verb(_HANDLING)} (?:up )?)?{_THING}"
    rf"(?:[.!]?$|(?= (?:{_PLACE_BEFORE})\b)|{_THEN} (?=.*\b(?:it|them)\b))",
    re.IGNORECASE,
)
"""A sentence that begins with one thing that is handled, and continues with its place or *it*."""


@dataclass(frozen=True, slots=True)
class GoalColours:
    """The thing to move and where it belongs, as far as the goal names them by an unambiguous colour."""

    thing: Colour | None
    target: Colour | None
    """Colour of the target; None if unknown, and always None without a thing."""


def goal_colours(goal: str) -> GoalColours:
    """The colours of thing and target: red and blue in "move the red cube from the table to the blue bowl".

    The target is known if the whole goal is one sentence of these words, in which THING is a colour with one
    noun, *the orange*, or both with an adjective of size, shape or material, and TARGET is a colour with one
    noun, or the *middle*, *center* or *inside* of that:

    - one of ``MOVES``: a verb, THING, a preposition of that verb, TARGET;
    - one of ``PICK_UP``, THING, *and*, one of ``MOVES`` with *it* for the thing;
    - THING *to, into, onto* TARGET.

    Before it may come *please*, a robot, hand or person that does it, and an adverb of manner; after the
    thing, where it comes from or what it passes; after the target, an adverb, *from* somewhere, *with* or
    *using* the robot, and *and let go*. Anything else leaves the target unknown: a negation, *back*, *again*,
    *towards*, a second place or instruction, a plural, or a preposition that is not that verb's ("lift the
    red cube in the green bowl").

    The thing is known in more goals, as it has to be no more than a thing: the sentence begins with it, or
    with what is done to it, and continues with its place or *it* ("lift the red cube"). Neither is known
    if something else in the goal has the same colour.
    """
    sentence = " ".join(goal.split())
    whole = next((found for form in _FORMS if (found := form.fullmatch(sentence))), None)
    found = whole or _THING_ALONE.match(sentence)
    if found is None:
        return GoalColours(None, None)
    count = Counter(colour_mentions(sentence))
    thing = named_colour(found["thing"] or found["fruit"])
    target = named_colour(whole["target"]) if whole else None
    if count[thing] > 1:
        return GoalColours(None, None)
    return GoalColours(thing, None if target is None or count[target] > 1 else target)
