"""Roundabout ways to lose work or to run a text: each found by trying to get past the gate, none of them low."""

from __future__ import annotations

import pytest

from agent.domain import Effect, Tier
from agent.facts.shell import shell_facts
from agent.hypothetical import Call, rate_call
from agent.policy import load_policy

POLICY = load_policy()


def tier(tool: str, **args: object) -> Tier:
    return rate_call(POLICY, Call(tool=tool, args=args))[0].tier


@pytest.mark.parametrize(
    "command",
    [
        "git checkout HEAD prices.txt",
        "git checkout app.py",
        "git checkout --theirs prices.txt",
        "git checkout -p",
        "git checkout-index -f -a",
        "git read-tree -u --reset HEAD",
        "git branch -f main HEAD~5",
        "git branch -M a main",
        "git tag -f v1 HEAD~3",
        "git update-ref refs/heads/main abc",
        "git switch -C main HEAD~9",
        "git merge --abort",
        "git cherry-pick --abort",
        'git checkout "$X"',
        "git rm a",
        "git clean -f",
    ],
)
def test_git_that_loses_work_or_where_a_branch_stood_is_asked(command: str) -> None:
    assert "destructive" in shell_facts(command).flags
    assert tier("run_shell", command=command) is Tier.MEDIUM


@pytest.mark.parametrize(
    "command",
    [
        "git checkout main",
        "git checkout -b fix/price",
        "git checkout release-1.2",
        "git checkout -b fix origin/main",
        "git switch -c fix",
        "git branch -m old new",
        "git branch -vv",
        "git tag v1.2.0",
        "git merge fix",
        "git rm -n a",
        "git stash",
        "git branch --format='%(refname)'",
        "git clean -nd",
        "git commit -qm 'x'",
        "git diff > a.patch",
    ],
)
def test_everyday_git_is_not(command: str) -> None:
    assert tier("run_shell", command=command) is Tier.LOW


@pytest.mark.parametrize(
    ("command", "effect"),
    [
        ("sort -o a.csv b", Effect.MODIFY),
        ("sort -oa.csv b", Effect.MODIFY),
        ("sort --output=a.csv b", Effect.MODIFY),
        ("sort -o a.csv /dev/null", Effect.DELETE),
        ("uniq b a.csv", Effect.MODIFY),
        ("xxd -r b a.csv", Effect.MODIFY),
        ("yq -i .a a.csv", Effect.MODIFY),
        ("dos2unix a.csv", Effect.MODIFY),
        ("git log --output=a.csv", Effect.MODIFY),
        ("git diff --output a.csv", Effect.MODIFY),
        ("ln -sf /dev/null a.csv", Effect.DELETE),
        ("{ :; } > a.csv", Effect.DELETE),
        ("( true ) > a.csv", Effect.DELETE),
        ("exec > a.csv", Effect.DELETE),
        ("if false; then :; fi > a.csv", Effect.DELETE),
        ("while false; do :; done > a.csv", Effect.DELETE),
        ("grep x /dev/null > a.csv", Effect.DELETE),
        ("printf %s '' > a.csv", Effect.DELETE),
        ("echo > a.csv", Effect.DELETE),
    ],
)
def test_a_command_that_mostly_prints_says_which_file_it_writes(command: str, effect: Effect) -> None:
    assert (effect, "workspace:a.csv") in {(one.effect, one.target) for one in shell_facts(command).effects}


@pytest.mark.parametrize("command", ["for f in a b; do cat $f; done > c", "{ cat a; } > c", "(cat a; cat b) > c"])
def test_several_commands_that_print_into_a_file_are_not_destructive(command: str) -> None:
    assert "destructive" not in shell_facts(command).flags


def test_a_measured_run_of_a_file_is_no_test() -> None:
    assert tier("run_shell", command="coverage run evil.py") is Tier.MEDIUM
    assert tier("run_shell", command="coverage report") is Tier.LOW


@pytest.mark.parametrize(
    "code",
    [
        "import timeit\ntimeit.timeit('x')",
        "import cProfile as c\nc.run('x')",
        "from importlib import util",
        "from importlib.machinery import SourceFileLoader",
        "import pkgutil\npkgutil.resolve_name('os.remove')('a')",
        "import pydoc\npydoc.locate('os.remove')('a')",
        "import logging.config\nlogging.config.dictConfig({})",
        "import shelve\nshelve.open('a')",
        "from functools import reduce\nimport os\nreduce(getattr, ['remove'], os)",
        "import code\ncode.InteractiveInterpreter().runsource('x')",
        "import sh\nsh.rm('a')",
        "import builtins\nbuiltins.getattr(1, 'x' + 'y')",
        "__loader__.load_module('os')",
        "g = getattr",
        "import pandas as pd\npd.read_pickle('a')",
        "import webbrowser\nwebbrowser.open('x')",
        "import asyncio\nasyncio.get_event_loop().subprocess_exec(1)",
        "import sys\nsys._getframe().f_builtins",
        "from yaml import unsafe_load",
        "import asyncio\nasyncio.open_connection('a', 1)",
        "import distutils.dir_util as d\nd.remove_tree('a')",
        "import os\nos.open('a', os.O_TRUNC)",
        "import shutil\nshutil.copyfile('/dev/null', 'a')",
        "import io\nio.FileIO('a', 'w').close()",
    ],
)
def test_python_that_runs_a_text_or_loses_a_file_by_another_door_is_asked(code: str) -> None:
    assert tier("run_python", code=code) is Tier.MEDIUM


@pytest.mark.parametrize(
    "code",
    [
        "from importlib.metadata import version\nprint(version('x'))",
        "code = 'x'\nprint(code)",
        "trace = 1\nprint(trace)",
        "print(getattr([], 'append', None))",
        "import shutil\nshutil.copyfile('a', 'b')",
        "import asyncio\nasyncio.run(main())",
        "import logging\nlogging.basicConfig(level='INFO')",
        "square = invoke = 1\nprint(invoke)",
        "import timeit",
    ],
)
def test_everyday_python_is_not(code: str) -> None:
    assert tier("run_python", code=code) is Tier.LOW
