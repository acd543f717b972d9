"""The reference of the command line, read off the parsers themselves."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from bot.__main__ import command_line

_HEAD = """\
# Command line

<!-- Written by `python -m docs.reference` from the parsers; change it there. -->

Every command ends with 0 when it went well, 1 when it did not, and 2 when an operator must mend something: what is
wrong and what to do stands on stderr. What ends otherwise says so. `--config FILE` names the configuration; without it
`secondkey.toml` in the current folder is read.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_told(command_line(), "")])


def commands() -> tuple[str, ...]:
    """Every command and verb, such as `audit verify`."""
    return tuple(_names(command_line(), ""))


def _names(parser: argparse.ArgumentParser, before: str) -> Iterator[str]:
    for name, sub, _ in subcommands(parser):
        words = f"{before} {name}".strip()
        yield words
        yield from _names(sub, words)


def subcommands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """Name, parser and help of each command right below a parser."""
    for action in parser._actions:  # noqa: SLF001  # argparse has no public way to look at a parser
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  # as above
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001  # as above
            for name, sub in action.choices.items():
                yield name, sub, helps.get(name, "")


def _told(parser: argparse.ArgumentParser, before: str) -> Iterator[str]:
    for name, sub, said in subcommands(parser):
        words = f"{before} {name}".strip()
        yield f"{'##' if not before else '###'} `secondkey {words}`\n"
        if said:
            yield f"{_sentence(said)}\n"
        for more in (sub.description, sub.epilog):
            if more and more != said:
                yield f"{_plain(more)}\n"
        rows = list(_rows(sub))
        if rows:
            yield "\n".join(["| argument | meaning |", "|---|---|", *rows, ""])
        yield from _told(sub, words)


def _rows(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:  # noqa: SLF001  # as above
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):  # noqa: SLF001  # as above
            continue
        shown = action.metavar if isinstance(action.metavar, str) else ""
        if action.option_strings:
            value = "" if action.nargs == 0 else f" {shown or _choices(action) or action.dest.upper()}"
            name = f"{', '.join(action.option_strings)}{value}"
        else:
            name = f"[{shown or action.dest}]" if action.nargs in {"?", "*"} else shown or action.dest
        needed = "; needed" if action.option_strings and action.required else ""
        yield f"| `{_cell(name)}` | {_plain(action.help or '')}{needed} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _choices(action: argparse.Action) -> str:
    return "{" + ",".join(str(one) for one in action.choices) + "}" if action.choices else ""


def _sentence(text: str) -> str:
    plain = _plain(text)
    return plain[:1].upper() + plain[1:] + ("" if plain.endswith(".") else ".")


def _plain(text: str) -> str:
    return " ".join(text.replace("%%", "%").split()).replace("<", "&lt;").replace("|", "\\|")
