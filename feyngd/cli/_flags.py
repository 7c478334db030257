"""What the library says, in the words of the command line: flags in place of Python's arguments."""

import re
from collections.abc import Mapping
from functools import partial

_VALUE = r"""'[^']*'|"[^"]*"|[^\s,;:)]*[^\s,;:).]"""
_QUOTES = ("'", '"')
_GIVING = "[Gg]ive|[Uu]se|[Tt]ake|[Rr]aise|with"
_VERBS = "is|are|must|lists|has|counts"


def in_flags(text: str, flags: Mapping[str, str]) -> str:
    """Return a message of the library with flags for the Python names in it.

    Args:
        text: the message.
        flags: the flag of each argument that the command takes, such as `{"num_samples": "--num-samples"}`. Other
            names are left: this command does not have them.

    Examples:
        >>> in_flags("N=7 and B=2 do not fit: use sampling='fixed'.", {"N": "-N", "B": "-B", "sampling": "--sampling"})
        '-N 7 and -B 2 do not fit: use --sampling fixed.'
    """
    if "seed" in flags:
        text = re.sub(r"\bkey=jax\.random\.key\([^)]*\)", f"{flags['seed']} 0", text)
    if "sampling" in flags:
        text = re.sub(r"\bSpacetime\.gd\b(\([^)]*\))?", f"{flags['sampling']} full-batch", text)
    for name, flag in flags.items():
        text = re.sub(rf"(?<![\w.-]){name}=({_VALUE})", partial(_given, flag), text)
        if "_" in name:
            text = re.sub(rf"(?<![\w-]){name}\b", flag, text)
        elif len(name) == 1:  # N, B, E, T: a symbol in a formula, unless the sentence is about giving it
            text = re.sub(rf"\b({_GIVING}) {name}\b(?!\S|\s*[=≤≥<>/·*])", rf"\1 {flag}", text)
        text = re.sub(rf"(^|[.:;] |\bUnknown ){name}(?= ({_VERBS})\b| ['\"])", rf"\1{flag}", text)
    return re.sub(r",? or None\b", "", text)


def _given(flag: str, found: re.Match[str]) -> str:
    value = found[1]
    return f"{flag} {value[1:-1] if value[:1] in _QUOTES and ' ' not in value else value}"
