"""What is wrong with the words of a command line, in one line.

tyro reads them, too, and gives the values; this goes before it for the sake of what is said.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, replace

from gs_densify.errors import ConfigError
from gs_densify.flags.forms import Option
from gs_densify.flags.other_programs import OPTIONS
from gs_densify.flags.values import (
    choices_of,
    described,
    fits,
    least_words,
    looks_like_a_flag,
    most_words,
    parts_of,
)
from gs_densify.near_names import did_you_mean, nearest_name

HELP, ALL, VERSION = ("-h", "--help"), "--help-all", "--version"
"""What every command takes."""
ALWAYS = (*HELP, ALL, VERSION)

_MOST_LISTED = 12
"""Options of a group that a message lists."""
_FLAG = re.compile(r"--[\w.-]*\w")
_GPU = re.compile(r"(?:cuda|gpu):?(\d+)")


@dataclass(frozen=True)
class Given:
    """An option as it was given."""

    option: Option
    flag: str
    """As it was written."""
    words: tuple[str, ...]
    has_sign: bool
    """Whether its value was joined to it by an equals sign."""


def check(options: Sequence[Option], argv: Sequence[str], program: str, *, stray: str = "") -> None:
    """Refuses what the options do not take.

    Args:
        options: of the form.
        argv: the words.
        program: whose help is named.
        stray: what to do with a word that belongs to no option, `{word}` being it.

    Raises:
        ConfigError: for the first thing that is wrong.
    """
    positionals = [one for one in options if one.is_positional]
    named: list[Option] = []
    alone: list[str] = []
    before: Given | str = ""
    for one in _read(options, argv, program):
        if isinstance(one, Given):
            check_given(one)
            named.append(one.option)
        elif isinstance(before, Given) and before.option.is_flag and not positionals:
            check_given(replace(before, words=(one,), has_sign=True))
        else:
            alone.append(one)
        before = one
    _check_positionals(positionals, alone, program, stray)
    for option in options:
        if not option.is_positional and option.default is MISSING and option not in named:
            raise ConfigError(
                "is missing", action=f"give it: {option.text}", option=option.names[0][2:]
            )


def check_known(options: Sequence[Option], argv: Sequence[str]) -> None:
    """Refuses values that the options do not take, among others that are not looked at."""
    known = _by_flag(options)
    for one in _given(known, argv):
        if isinstance(one, Given):
            check_given(one)


def _read(options: Sequence[Option], argv: Sequence[str], program: str) -> Iterator[Given | str]:
    known = _by_flag(options)
    for one in _given(known, argv):
        if isinstance(one, str) and _is_meant_as_flag(one):
            raise unknown_option(one.partition("=")[0], known, program)
        yield one


def _by_flag(options: Iterable[Option]) -> dict[str, Option]:
    return {flag: option for option in options if not option.is_positional for flag in option.flags}


def _given(known: Mapping[str, Option], argv: Sequence[str]) -> Iterator[Given | str]:
    """Yields options with the words that follow them, and words that are no option of these."""
    words = deque(argv)
    while words:
        word = words.popleft()
        if word == "--":
            yield from words
            return
        flag, sign, value = word.partition("=")
        option = known.get(normal(flag))
        if option is None:
            yield word
            continue
        taken = [value] if sign else []
        most = 0 if option.is_flag else most_words(option.hint)
        while words and len(taken) < most and not looks_like_a_flag(words[0]):
            taken.append(words.popleft())
        yield Given(option, flag, tuple(taken), bool(sign))


def normal(flag: str) -> str:
    """Returns a flag with hyphens for underscores."""
    return flag[:2] + flag[2:].replace("_", "-")


def check_given(given: Given) -> None:
    """Refuses a value that an option does not take."""
    option, words, name = given.option, given.words, normal(given.flag).lstrip("-")
    if option.is_flag:
        if given.has_sign:
            raise ConfigError(f"is given {words[0]!r}", expected="it takes no value", option=name)
        return
    if fits(option.hint, words):
        return
    text = " ".join(words)
    found = (
        f"is {text!r}"
        if len(words) >= max(1, least_words(option.hint))
        else (f"has {text!r} only" if words else "has no value")
    )
    expected, action = f"expected {described(option.hint)}", ""
    gpu = _GPU.fullmatch(text)
    if gpu and option.field == "device":
        expected = "a run uses one GPU"
        action = f"set CUDA_VISIBLE_DEVICES={gpu[1]} and give --{name} cuda"
    elif words:
        action = did_you_mean(words[0], _choices(option))
    raise ConfigError(found, expected=expected, action=action, option=name)


def _choices(option: Option) -> list[str]:
    return [choice for part in parts_of(option.hint) for choice in choices_of(part) or ()]


def unknown(word: str, options: Iterable[Option], program: str) -> ConfigError:
    """Returns what to say of a word that is left over."""
    if _is_meant_as_flag(word):
        return unknown_option(word.partition("=")[0], _by_flag(options), program)
    return _alone(word, program, "")


def _is_meant_as_flag(word: str) -> bool:
    return word.startswith("--") or looks_like_a_flag(word)


def _alone(word: str, program: str, stray: str) -> ConfigError:
    action = stray.format(word=word) if stray else f"{program} --help shows what there is"
    return ConfigError(f"{word!r} belongs to no option", action=action)


def unknown_option(flag: str, known: Mapping[str, Option], program: str) -> ConfigError:
    """Returns what to say of a flag that is none of those known, by their spellings."""
    flag = normal(flag)
    if flag in ALWAYS:
        return ConfigError(f"{flag} takes no value")
    group, dot, _ = flag.lstrip("-").rpartition(".")
    siblings = [one for one in known if one.startswith(f"--{group}.")] if dot else []
    action = _meant(flag, siblings, [*known, *ALWAYS])
    if not action and 0 < len(siblings) <= _MOST_LISTED:
        action = f"there are {', '.join(siblings)}"
    return ConfigError(
        f"{flag}: no such option", action=action or f"{program} {ALL} shows all that there are"
    )


def _meant(flag: str, siblings: Sequence[str], known: Sequence[str]) -> str:
    """Returns which option was probably meant, by the name, or by what other programs call it.

    `siblings` are the options of the group that is named.
    """
    name = _last(flag)
    in_groups = [one for one in known if "." in one and _last(one) == name]
    if len(in_groups) == 1:
        return f"did you mean {in_groups[0]}?"
    theirs = OPTIONS.get(name, "")
    if theirs and {*_FLAG.findall(theirs)} <= {*known}:
        return f"did you mean {theirs}?" if theirs.startswith("--") else theirs
    # Within a group that there is, its own name makes every option look alike.
    nearest = None if siblings else nearest_name(flag, known)
    if nearest is None:
        ends = {_last(one): one for one in siblings or known if "." in one}
        nearest = ends.get(nearest_name(name, ends) or "")
    return f"did you mean {nearest}?" if nearest else ""


def _last(flag: str) -> str:
    """Returns a flag's name without its group."""
    return flag.lstrip("-").rpartition(".")[2].casefold()


def _check_positionals(
    positionals: Sequence[Option], alone: Sequence[str], program: str, stray: str
) -> None:
    most = sum(most_words(one.hint) for one in positionals)
    if len(alone) > most:
        raise _alone(alone[int(most)], program, stray)
    needed = [one for one in positionals if one.is_required and least_words(one.hint) > 0]
    if len(alone) < len(needed):
        names = " ".join(one.field.upper() for one in positionals)
        missing = needed[len(alone)]
        raise ConfigError(
            f"no {missing.field} given", action=f"{program} {names}: {missing.text}".rstrip(".")
        )
    if "" in alone:
        field = positionals[min(alone.index(""), len(positionals) - 1)].field
        raise ConfigError(f"{field} is ''", action="see whether a variable of the shell is not set")
