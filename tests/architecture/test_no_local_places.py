"""Nothing here names a folder of one machine or the host of a package registry: a clone works anywhere."""

import re

import pytest
from source_tree import relative, text_files

HOME_FOLDERS = re.compile(r"(?<![\w./-])/(?:work|farm|root|home|Users|mnt|data|scratch)/\w")
HOSTS = re.compile(
    "|".join(
        re.escape(".".join(parts))
        for parts in (
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("download", "pytorch", "org"),
            ("registry", "npmjs", "org"),
            ("deb", "debian", "org"),
            ("conda", "anaconda", "org"),
        )
    )
)


def local_places(text: str) -> list[str]:
    return [match.group(0) for pattern in (HOME_FOLDERS, HOSTS) for match in pattern.finditer(text)]


def test_no_local_folder_and_no_registry_host_is_named():
    found = {relative(path): local_places(path.read_text(encoding="utf-8")) for path in text_files()}
    assert {name: places for name, places in found.items() if places} == {}


@pytest.mark.parametrize("text", ["cd /" + "home/me", "--index-url https://" + ".".join(("pypi", "org"))])
def test_a_local_place_would_be_noticed(text):
    assert local_places(text)
