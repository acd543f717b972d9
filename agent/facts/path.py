"""What a path says by itself: continuous integration, credentials, dotfiles."""

from __future__ import annotations

import re

from agent.visible import visible

_CI = re.compile(
    r"""^(?:
        (?:.*/)?\.(?:github|gitlab|circleci|ci|buildkite|drone|woodpecker|azure-pipelines|teamcity|husky|githooks|git)/.*
      | (?:.*/)?\.(?:gitlab-ci|travis|drone|woodpecker|appveyor|cirrus|pre-commit-config)\.ya?ml
      | (?:.*/)?(?:appveyor|azure-pipelines|bitbucket-pipelines|cloudbuild|buildspec|codefresh)\.ya?ml
      | (?:.*/)?(?:Jenkinsfile|\.gitmodules|\.gitattributes|CODEOWNERS)
      | (?:.*/)?\.git
      | (?:.*/)?\.vscode/(?:tasks|launch|settings)\.json
    )$""",
    re.VERBOSE | re.IGNORECASE,
)
_CREDENTIALS = re.compile(
    r"""^(?:
        (?:.*/)?\.env(?:\..+|rc)?
      | (?:.*/)?\.(?:netrc|npmrc|pypirc|pgpass|htpasswd|git-credentials|dockercfg|my\.cnf)
      | (?:.*/)?\.(?:ssh|gnupg|aws|azure|kube|docker|gcloud)/.*
      | (?:.*/)?id_(?:rsa|dsa|ecdsa|ed25519)(?:\..*)?
      | (?:.*/)?authorized_keys
      | (?:.*/)?[^/]*\.(?:pem|key|p12|pfx|jks|keystore|kdbx|asc|ppk)
      | (?:.*/)?(?:credentials|secrets?|service[-_]account[^/]*)(?:\.(?:json|ya?ml|toml|ini|txt|env|cfg))?
    )$""",
    re.VERBOSE | re.IGNORECASE,
)
_GIT = re.compile(r"^(?:.*/)?\.git/", re.IGNORECASE)
#: What ends a line for some reader.
_BREAKS = re.compile("[\t\n\r\x0b\x0c\x85\u2028\u2029]")
_EXAMPLE = re.compile(r"\.(?:example|sample|template|dist|md)$", re.IGNORECASE)


def is_ci(path: str) -> bool:
    """Whether what stands in this file is executed by a build service, a hook or an editor."""
    return bool(_CI.match(path))


def is_credentials(path: str) -> bool:
    """Whether a file of this name usually holds secrets; examples and templates do not."""
    return bool(_CREDENTIALS.match(path)) and not _EXAMPLE.search(path)


def is_plain(path: str) -> bool:
    """Whether people can read a name as what it is: UTF-8, on one line, with nothing hidden or turned round in it."""
    if path.isascii():
        return path.isprintable()
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return visible(path) == path and not _BREAKS.search(path)


def is_dotfile(path: str) -> bool:
    """Whether any part of the path is hidden."""
    return any(part.startswith(".") for part in path.split("/"))


def path_flags(*paths: str) -> tuple[str, ...]:
    """The flags `touches_ci` and `touches_credentials`, as they apply to any of the paths."""
    flags: list[str] = []
    if any(is_ci(path) for path in paths):
        flags.append("touches_ci")
    if any(is_credentials(path) for path in paths):
        flags.append("touches_credentials")
    return tuple(flags)


def written_flags(path: str) -> tuple[str, ...]:
    """The flags of a path that is written to: also `touches_git`, for what git keeps for itself and may execute."""
    return (*path_flags(path), *(("touches_git",) if _GIT.match(path) else ()))
