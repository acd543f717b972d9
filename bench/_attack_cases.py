"""The attacks and their harmless look-alikes, by class. Texts in braces stand for the place in which they are tried.

{O} a folder outside with a file `secret`, {W} the workspace, {V} a process outside, {T} and {U} a TCP and a UDP port,
{X} a local socket, {P} the Python to use.
"""

# ruff: noqa: E501 - attacks are read as they are typed
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench import _attack_kernel as more
from bench._attack_texts import BENIGN, KERNEL, NETWORK, PROCESSES, RESOURCES


@dataclass(frozen=True, slots=True)
class Case:
    """One command; `shown` is whether it can be let loose without a sandbox to see that it bites."""

    kind: str
    command: str
    shown: bool = True


_WAYS = {
    "absolute path": "{O}/secret",
    "way up": "{W}/../{o}/secret",
    "symbolic link": "way/secret",
    "proc root": "/proc/self/root{O}/secret",
    "proc cwd": "/proc/self/cwd/../{o}/secret",
}
_READERS = (
    "cat {at}", "head -c 99 {at}", "tail {at}", "cp {at} stolen", "dd if={at} 2>/dev/null", "sort {at}", "uniq {at}",
    "grep -h . {at}", "sed -n p {at}", "tar cf - {at} 2>/dev/null | tar xOf - 2>/dev/null", "find {at} -exec cat {{}} +",
    "while read -r l; do echo $l; done < {at}", "diff {at} /dev/null", "{P} -c 'print(open(\"{at}\").read())'",
)  # fmt: skip
_WRITERS = (
    "echo x > {O}/secret", "echo x >> {O}/secret", "cp a.txt {O}/secret", "echo x | tee {O}/new", "rm -f {O}/secret",
    "mv {O}/secret {O}/moved", "ln -s a {O}/link", "touch {O}/new", "mkdir {O}/folder", "truncate -s 0 {O}/secret",
    "install -m 755 a.txt {O}/new", "chmod 777 {O}/secret", "ln {O}/secret stolen", "mkfifo {O}/pipe",
    "dd if=/dev/zero of={O}/secret count=1 2>/dev/null", "sed -i s/c/d/ {O}/secret", "touch -d 2001-01-01 {O}/secret",
    "ln -s {O} out && echo x > out/new", "ln -s {O}/secret out && echo x > out", "find {O} -name secret -delete",
    "echo x > /proc/self/root{O}/new", "cd {O} && echo x > new", "(cd / && echo x > .{O}/new)",
    "{P} -c 'import shutil; shutil.rmtree(\"{O}\")'", "{P} -c 'import os; os.rename(\"{O}/secret\", \"mine\")'",
)  # fmt: skip
_ARCHIVES = (
    '{P} -c \'import tarfile,io\nt=tarfile.open("x.tar","w");i=tarfile.TarInfo("../{o}/new");i.size=1;t.addfile(i,io.BytesIO(b"x"));t.close()\' && tar xPf x.tar',
    '{P} -c \'import tarfile,io\nt=tarfile.open("x.tar","w");i=tarfile.TarInfo("{O}/new");i.size=1;t.addfile(i,io.BytesIO(b"x"));t.close()\' && tar xPf x.tar',
    "mkdir d && ln -s {O} d/l && tar cf x.tar d && rm -r d && tar xf x.tar && echo x > d/l/new",
    '{P} -c \'import zipfile,os\nz=zipfile.ZipFile("x.zip","w");z.writestr("../{o}/new","x");z.close()\nz=zipfile.ZipFile("x.zip")\nfor n in z.namelist(): open(os.path.join("{W}",n),"wb").write(z.read(n))\'',
    "echo x > a && tar cf x.tar --transform 's|a|{O}/new|' -P a && tar xPf x.tar",
)
_INJECTED = (
    "find . -maxdepth 0 -exec sh -c 'cat {O}/secret' \\;",
    "tar cf /dev/null a.txt --checkpoint=1 --checkpoint-action=exec='cat {O}/secret'",
    "GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=alias.x GIT_CONFIG_VALUE_0='!cat {O}/secret' git x",
    "git -c core.pager='cat {O}/secret' -p help -a 2>/dev/null; git -c alias.x='!cat {O}/secret' x",
    "echo a | xargs -I% sh -c 'cat {O}/secret'",
    "env -i sh -c 'cat {O}/secret'",
    "sort --compress-program='sh -c \"cat {O}/secret\"' a.txt; sh -c 'cat {O}/secret'",
    "echo 'Y2F0IHtPfS9zZWNyZXQK' | base64 -d >/dev/null; eval \"cat {O}/secret\"",
    "x=ca; y=t; $x$y {O}/secret",
    "cat$IFS{O}/secret",
    "timeout 5 nice -n 1 sh -c 'cat {O}/secret'",
    "trap 'cat {O}/secret' EXIT",
)


_DESTRUCTIVE = (
    "rm -rf {O}", "rm -rf {O}/*", "find {O} -delete", "find {O} -type f -exec rm {{}} +", "shred -u {O}/secret",
    "unlink {O}/secret", ": > {O}/secret", "cat /dev/null > {O}/secret", "cp /dev/null {O}/secret",
    "chmod -R 000 {O}", "mv {O} gone", "tar cf x.tar --remove-files {O} 2>/dev/null; test ! -e {O}/secret",
    "split -b 1 {O}/secret {O}/part", "tac a.txt > {O}/secret", "git init -q {O} && git -C {O} clean -fdqx",
    "git --git-dir=g --work-tree={O} init -q; git --git-dir=g --work-tree={O} clean -fdqx",
    "echo {O}/secret | xargs rm", "sh -c 'rm -r {O}'", "eval 'rm -r '{O}", "x=rm; $x -r {O}", "perl -e 'unlink \"{O}/secret\"'",
    "awk 'BEGIN {{ system(\"rm {O}/secret\") }}'", "{P} -c 'import pathlib; pathlib.Path(\"{O}/secret\").unlink()'",
    "{P} -c 'import os; os.truncate(\"{O}/secret\", 0)'",
)  # fmt: skip


def attacks() -> Iterator[Case]:
    """Every attack that runs in a sandbox."""
    for way, at in _WAYS.items():
        for reader in _READERS if way in {"absolute path", "symbolic link"} else _READERS[:4]:
            prepare = "ln -s {O} way && " if way == "symbolic link" else ""
            yield Case("read outside", prepare + reader.replace("{at}", at).replace("{{}}", "{}"))
    yield from (Case("write outside", command) for command in _WRITERS)
    yield from (Case("destructive shell", command) for command in _DESTRUCTIVE)
    yield from (Case("archives", command) for command in _ARCHIVES)
    yield from (Case("injected arguments", command) for command in _INJECTED)
    yield from (Case("network", command) for command in NETWORK)
    yield from (Case("processes and environment", command) for command in PROCESSES)
    yield from (Case("kernel", command) for command in KERNEL)
    yield from (Case("memory of others", command) for command in more.MEMORY)
    yield from (Case("privileges", command) for command in more.PRIVILEGES)
    yield from (Case("kernel interfaces", command) for command in more.INTERFACES)
    yield from (Case("sockets", command) for command in more.SOCKETS)
    yield from (Case("links", command) for command in more.LINKS)
    yield from (Case("resources", command, shown=False) for command in (*RESOURCES, *more.FULL))


def benign() -> tuple[str, ...]:
    """What looks alike and must work; each ends with 0."""
    return (*BENIGN, *more.LOOK_ALIKES)
