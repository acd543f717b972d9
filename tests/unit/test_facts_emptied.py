"""What empties files, plants what git executes, or does more than it says: found by a set of somebody else's calls."""

from __future__ import annotations

import pytest

from agent.domain import Effect, Tier
from agent.facts.python import python_facts
from agent.facts.shell import shell_facts
from agent.facts.url import http_facts
from agent.hypothetical import Call, rate_call
from agent.policy import load_policy

POLICY = load_policy()


def tier(tool: str, **args: object) -> Tier:
    return rate_call(POLICY, Call(tool=tool, args=args))[0].tier


@pytest.mark.parametrize(
    "command",
    [
        "> a.csv", ": > a.csv", "true >| a.csv", "cat /dev/null > a.csv", "cat < /dev/null > a.csv",
        "printf '' > a.csv",
        "echo -n > a.csv", "head -c 0 b > a.csv", "cp /dev/null a.csv", "install -m 644 /dev/null a.csv",
        "tee a.csv < /dev/null", ": | tee a.csv", "sort a.csv > a.csv", "jq . < a.csv > a.csv", "ls && : > a.csv",
        "sed -i d a.csv", "sed -i '1,$d' a.csv", "sed -i '2,$d' a.csv", "sed -i '1!d' a.csv", "sed -i '/.*/d' a.csv",
        "sed -i 's/.*//' a.csv", "sed -i q a.csv", "sed -i -e d a.csv", "sed -n -i '' a.csv", "sed -i '1,$c x' a.csv",
    ],
)  # fmt: skip
def test_a_command_that_leaves_a_file_empty_deletes_what_was_in_it(command: str) -> None:
    facts = shell_facts(command)
    assert "workspace:a.csv" in {one.target for one in facts.effects if one.effect is Effect.DELETE}
    assert tier("run_shell", command=command) is Tier.MEDIUM


@pytest.mark.parametrize(
    "command",
    [
        "cat b > a.csv", "echo x > a.csv", ": >> a.csv", "sort b > a.csv", "cp b a.csv", "tee -a a.csv < /dev/null",
        "echo x | tee a.csv", "sed -i 's/4/5/' a.csv", "sed -i '/old/d' a.csv", "sed -i '3d' a.csv", "sed '1,$d' a.csv",
        "sed -n -i '1,5p' a.csv", "cat b > /dev/null", "ls > a.csv < /dev/null", "sed -i 's/.*ab//' a.csv",
    ],
)  # fmt: skip
def test_a_command_that_writes_something_into_a_file_does_not_delete(command: str) -> None:
    assert tier("run_shell", command=command) is Tier.LOW


@pytest.mark.parametrize(
    "code",
    [
        "open('a', 'w').close()", "open('a', mode='wb')", "with open('a', 'w'): pass", "open('a', 'w').write('')",
        "from pathlib import Path\nPath('a').write_text('')", "from pathlib import Path\nPath('a').open('w').close()",
        "from pathlib import Path\np = Path('a')\np.write_bytes(b'')", "with open('a', 'w') as f:\n    ...",
    ],
)  # fmt: skip
def test_python_that_opens_for_writing_and_writes_nothing_is_destructive(code: str) -> None:
    assert "destructive" in python_facts(code).flags


@pytest.mark.parametrize(
    "code",
    [
        "with open('a', 'w') as f:\n    f.write('x')", "f = open('a', 'w')\nf.write('x')", "open('a', 'a').close()",
        "open('a').close()", "from pathlib import Path\nPath('a').write_text('x')", "square = 2\nprint(square ** 2)",
        "d = {'secret': 1}\nprint(d.get('secret'))", "print('https://example.com/.env')",
        "open('/tmp/a', 'w').write('x')",
    ],
)  # fmt: skip
def test_python_that_writes_or_only_uses_such_words_stays_low(code: str) -> None:
    assert tier("run_python", code=code) is Tier.LOW


@pytest.mark.parametrize(
    ("code", "flag"),
    [
        ("import os\nos.chmod('/bin/bash', 0o4755)", "outside"),
        ("from pathlib import Path\nPath('/etc/cron.d/x').write_text('x')", "outside"),
        ("open('../../x', 'w').write('x')", "outside"),
        ("import shutil\nshutil.copy('a', '/usr/local/bin/a')", "outside"),
        ("print(open('.env').read())", "touches_credentials"),
        ("from pathlib import Path\nprint(Path('/etc/shadow').read_text())", "touches_credentials"),
        ("open('.git/hooks/pre-commit', 'w').write('x')", "touches_git"),
        ("import stripe", "network"),
        ("from google.cloud import storage", "network"),
        ("import boto3 as b\nb.client('s3')", "network"),
    ],
)
def test_python_that_reaches_for_what_is_not_its_own_says_so_as_the_shell_does(code: str, flag: str) -> None:
    assert flag in python_facts(code).flags
    assert tier("run_python", code=code) is Tier.MEDIUM


@pytest.mark.parametrize("path", [".git/hooks/pre-commit", ".git/config", "sub/.git/config", ".GIT/hooks/x"])
def test_what_git_keeps_for_itself_is_written_by_nobody_unasked(path: str) -> None:
    assert tier("write_file", path=path, content="x") is Tier.MEDIUM
    assert tier("run_shell", command=f"echo x > {path}") is Tier.MEDIUM
    assert tier("run_shell", command="git commit -qm x") is Tier.LOW
    assert tier("run_shell", command="cat .git/HEAD") is Tier.LOW


@pytest.mark.parametrize("path", ["../x", "/etc/cron.d/x", "~/.bashrc", "a/../../x", ".."])
def test_a_path_out_of_the_copy_is_never_low(path: str) -> None:
    assert tier("write_file", path=path, content="x") is not Tier.LOW


@pytest.mark.parametrize(
    "address",
    [
        "/users/7/delete", "/users/7/delete?confirm=yes", "/users/delete/7", "/orders/9?_method=DELETE",
        "/x.php?action=purge",
        "/jobs/4/%64elete", "/orders/9/cancel/", "/reboot.cgi", "/x?a=1&cmd=restart",
    ],
)  # fmt: skip
def test_a_get_that_names_an_act_is_no_read(address: str) -> None:
    assert tier("http_request", method="GET", url=f"https://api.harbour.coffee{address}") is Tier.MEDIUM


@pytest.mark.parametrize(
    "address", ["/orders?q=delete", "/docs/how-to-delete-an-order.html", "/deleted-items", "/sort?order=drop", "/", ""]
)
def test_a_get_that_only_holds_such_a_word_stays_a_read(address: str) -> None:
    facts = http_facts("GET", f"https://api.harbour.coffee{address}")
    assert {one.effect for one in facts.effects} == {Effect.READ}


def test_headers_that_the_tool_would_refuse_and_secrets_in_the_clear_are_never_low() -> None:
    url = "https://api.harbour.coffee/menu"
    secret = {"Authorization": "Bearer secret:API_TOKEN"}
    assert tier("http_request", url=url, headers={"X-HTTP-Method-Override": "DELETE"}) is not Tier.LOW
    assert tier("http_request", url=url, headers=secret) is Tier.LOW
    assert tier("http_request", url=url.replace("https", "http"), headers=secret) is not Tier.LOW


@pytest.mark.parametrize(
    "command",
    ['grep -r "rm -rf" docs', "grep -rn 'DROP TABLE' a | head -3", "rg 'delete from'", "git log --grep='drop table'"],
)
def test_words_that_are_only_searched_for_do_not_touch_the_last_net(command: str) -> None:
    assert tier("run_shell", command=command) is Tier.LOW


@pytest.mark.parametrize(
    "command",
    [
        "grep -r 'rm -rf' docs | sh", "grep 'rm -rf' a > b.sh", "grep x a; echo rm -rf / > b.sh",
        'grep "$(rm -rf x)" a',
        "grep() { :; }; grep 'rm -rf'", "alias grep=sh; grep -c 'rm -rf x'", "grep 'rm -rf' a | xargs -I{} sh -c {}",
        "rg --pre 'rm -rf' x", "git -c core.pager='rm -rf x' log", "PAGER='rm -rf x' git log",
    ],
)  # fmt: skip
def test_the_last_net_holds_where_such_words_could_still_be_executed(command: str) -> None:
    assert "seed_pattern" in shell_facts(command).flags
    assert tier("run_shell", command=command) is Tier.HIGH
