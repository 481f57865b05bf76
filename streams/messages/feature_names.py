"""What the features of a reward model are called, and what a name says.

Critics and contexts may have any name. Characters of theirs that would mark a context are escaped as in a
URL: the critic ``det.AP@IoU=0.50`` is the feature ``det.AP%40IoU=0.50``.
"""

from __future__ import annotations

from streams.messages.contracts import CONTEXT_MARK


def critic_feature(critic: str) -> str:
    """The feature that the difference of a critic and mode is."""
    if "%" not in critic and CONTEXT_MARK not in critic:
        return critic
    return critic.replace("%", "%25").replace(CONTEXT_MARK, "%40")


def number_feature(key: str) -> str:
    """The feature that a number which both sides carry is."""
    return CONTEXT_MARK + _escaped_key(key)


def indicator(key: str, value: str) -> str:
    """The feature that says which side was made so."""
    return f"{CONTEXT_MARK}{_escaped_key(key)}={value}"


def interaction(critic: str, key: str, value: str) -> str:
    """The feature that the difference of a critic's feature in one shared context is."""
    return critic + indicator(key, value)


def is_interaction(name: str) -> bool:
    """Whether the feature is a critic's difference in one context."""
    critic, _, value = name.partition(CONTEXT_MARK)
    return bool(critic) and "=" in value


def is_indicator(name: str) -> bool:
    """Whether the feature is 1, 0 or −1."""
    return name.startswith(CONTEXT_MARK) and "=" in name


def is_critic(name: str) -> bool:
    """Whether the feature is a critic's difference everywhere; for these alone, higher is taken as better."""
    return not name.startswith(CONTEXT_MARK) and not is_interaction(name)


def critic_of(feature: str) -> str:
    """The critic and mode that a feature weighs; empty for a context by itself."""
    return shown(feature.partition(CONTEXT_MARK)[0])


def shown(feature: str) -> str:
    """For people, with every name as it was given."""
    return feature.replace("%40", CONTEXT_MARK).replace("%3D", "=").replace("%25", "%")


def _escaped_key(key: str) -> str:
    return key if "%" not in key and "=" not in key else key.replace("%", "%25").replace("=", "%3D")
