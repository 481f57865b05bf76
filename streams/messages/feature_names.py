"""The names of a reward model's features.

Critics and contexts may have any name. Characters in them that would mark a context are escaped as in a URL:
the critic ``det.AP@IoU=0.50`` becomes the feature ``det.AP%40IoU=0.50``.
"""

from __future__ import annotations

from streams.messages.contracts import CONTEXT_MARK


def critic_feature(critic: str) -> str:
    """The feature for the difference of the two sides in a critic and mode."""
    if "%" not in critic and CONTEXT_MARK not in critic:
        return critic
    return critic.replace("%", "%25").replace(CONTEXT_MARK, "%40")


def number_feature(key: str) -> str:
    """The feature for the difference of the two sides in a numeric context."""
    return CONTEXT_MARK + _escaped_key(key)


def indicator(key: str, value: str) -> str:
    """The feature that indicates which side has this context value."""
    return f"{CONTEXT_MARK}{_escaped_key(key)}={value}"


def interaction(critic: str, key: str, value: str) -> str:
    """The feature for a critic's difference in one shared context."""
    return critic + indicator(key, value)


def is_interaction(name: str) -> bool:
    """Whether the feature is a critic's difference in one context."""
    critic, _, value = name.partition(CONTEXT_MARK)
    return bool(critic) and "=" in value


def is_indicator(name: str) -> bool:
    """Whether the feature is an indicator of a context value: 1, 0 or −1."""
    return name.startswith(CONTEXT_MARK) and "=" in name


def is_critic(name: str) -> bool:
    """Whether the feature is a critic's difference in all contexts; only for these is higher taken as
    better."""
    return not name.startswith(CONTEXT_MARK) and not is_interaction(name)


def critic_of(feature: str) -> str:
    """The critic and mode that a feature weighs; empty for a context by itself."""
    return shown(feature.partition(CONTEXT_MARK)[0])


def shown(feature: str) -> str:
    """The feature's name for people, unescaped."""
    return feature.replace("%40", CONTEXT_MARK).replace("%3D", "=").replace("%25", "%")


def _escaped_key(key: str) -> str:
    return key if "%" not in key and "=" not in key else key.replace("%", "%25").replace("=", "%3D")
