"""No secret stands in the repository: detect-secrets reads every file that git keeps."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from detect_secrets import SecretsCollection
from detect_secrets.plugins.base import RegexBasedDetector
from detect_secrets.settings import get_plugins, transient_settings

ROOT = Path(__file__).parents[2]
SHAPES = (
    "AWSKeyDetector", "ArtifactoryDetector", "AzureStorageKeyDetector", "BasicAuthDetector", "DiscordBotTokenDetector",
    "GitHubTokenDetector", "GitLabTokenDetector", "JwtTokenDetector", "NpmDetector", "OpenAIDetector",
    "PrivateKeyDetector", "PypiTokenDetector", "SendGridDetector", "SlackDetector", "StripeDetector",
    "TelegramBotTokenDetector", "TwilioKeyDetector",
)  # fmt: skip
#: Reads words such as `password =`; in Python ruff's S105 to S107 do that, with a reason beside each exception.
WORDS = "KeywordDetector"
#: `secret:NAME` and a variable's name stand for a secret and are none.
NAME_OF_ONE = r"^(secret:)?[A-Z][A-Z0-9_]+$"
#: In tests, a secret that says so itself is planted.
PLANTED_BY_ITS_WORDS = re.compile(r"canary|planted|simulator|wrong|example|1234567890", re.IGNORECASE)
#: Where other secrets are planted on purpose, and of which kinds. What they hold opens nothing.
PLANTED = {
    "docs/configuration.md": {"Secret Keyword"},
    "tests/unit/test_facts_targets.py": {"Basic Auth Credentials"},
    "tests/unit/test_mcp_definitions.py": {"Basic Auth Credentials"},
    "tests/unit/test_secrets.py": {"Basic Auth Credentials", "Private Key"},
    "tests/unit/test_tools_http.py": {"Basic Auth Credentials"},
}


def kept() -> list[str]:
    """What git keeps, but for pictures and the locks, whose hashes are no secrets."""
    listed = subprocess.run(("git", "ls-files", "-z"), cwd=ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S607  a constant, and the git of this machine
    return [name for name in listed.split("\0") if name and not name.endswith((".png", ".lock", ".ico", ".db"))]


def found(names: list[str]) -> Iterator[tuple[str, int, str]]:
    """File, line and kind of what looks like a secret."""
    shapes = {"plugins_used": [{"name": name} for name in SHAPES]}
    names_alone = {"path": "detect_secrets.filters.regex.should_exclude_secret", "pattern": [NAME_OF_ONE]}
    with transient_settings(
        {"plugins_used": [*shapes["plugins_used"], {"name": WORDS}], "filters_used": [names_alone]}
    ):
        secrets = SecretsCollection(root=str(ROOT))
        for name in names:
            if not name.endswith(".py"):
                secrets.scan_file(name)
        yield from told(secrets)
    with transient_settings(shapes):
        secrets = SecretsCollection(root=str(ROOT))
        patterns = [regex for plugin in plugins() for regex in plugin.denylist]
        for name in names:
            # Line by line it takes 20 s; a file in which no pattern is found at all needs no second look.
            text = read(name) if name.endswith(".py") else ""
            if any(regex.search(text) for regex in patterns):
                secrets.scan_file(name)
        yield from told(secrets)


def plugins() -> list[RegexBasedDetector]:
    made = get_plugins()
    assert all(isinstance(plugin, RegexBasedDetector) for plugin in made)
    return list(made)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8", errors="replace")


def told(secrets: SecretsCollection) -> Iterator[tuple[str, int, str]]:
    for name, secret in secrets:
        if name.startswith("tests/") and PLANTED_BY_ITS_WORDS.search(secret.secret_value or ""):
            continue
        yield name, secret.line_number, secret.type


@pytest.mark.needs("git")
def test_no_secret_stands_in_the_repository_but_those_planted_in_tests() -> None:
    unexpected: dict[str, list[str]] = defaultdict(list)
    for name, line, kind in found(kept()):
        if kind not in PLANTED.get(name, set()):
            unexpected[name].append(f"line {line}: {kind}")
    assert unexpected == {}, "take it out and revoke it; if it is planted, enter it in PLANTED"


def test_a_planted_token_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "a.py").write_text('KEY = "AKIA' + "QWERTYUIOPASDFGH" + '"\n')
    (tmp_path / "b.yml").write_text("password: " + "correct-horse-battery\n")
    (tmp_path / "c.py").write_text('KEY = "nothing"\n')
    assert [(name, kind) for name, _, kind in found(["a.py", "b.yml", "c.py"])] == [
        ("b.yml", "Secret Keyword"),
        ("a.py", "AWS Access Key"),
    ]
    assert not re.search(r"AKIA[A-Z]{16}", Path(__file__).read_text(encoding="utf-8"))
