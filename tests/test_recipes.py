"""Every settings file in the recipes is good."""

import re
from pathlib import Path

import pytest

from gatepost.backends import userfile
from gatepost.settings import load
from settings_folder import fill

RECIPES = Path(__file__).parents[1] / "docs" / "recipes"
BLOCK = re.compile(r"```toml\n(.*?)```", re.DOTALL)


def blocks() -> list[tuple[str, int]]:
    return [
        (page.stem, n) for page in sorted(RECIPES.glob("*.md")) for n in range(len(BLOCK.findall(page.read_text())))
    ]


@pytest.mark.parametrize(("recipe", "number"), blocks())
def test_what_a_recipe_says_can_be_used(recipe: str, number: int, tmp_path: Path) -> None:
    """The first block is a whole file; each other one replaces keys or tables of it."""
    fill(tmp_path)
    for name, copy in (("cert.pem", "fullchain.pem"), ("key.pem", "privkey.pem")):
        (tmp_path / copy).write_bytes((tmp_path / name).read_bytes())
    for name in ("service-password", "oauth-secret", "introspection-secret"):
        (tmp_path / name).write_text("made up\n")
    userfile.edit(tmp_path / "users.toml", lambda roster: roster, new=True)
    found = BLOCK.findall((RECIPES / f"{recipe}.md").read_text())
    (tmp_path / "gatepost.toml").write_text(merged(found[0], found[number] if number else ""))
    load(tmp_path / "gatepost.toml")


def merged(whole: str, part: str) -> str:
    """Tables that the part has too are extended by it; [tokens], of which there is one kind at a time, is replaced."""
    for table, keys in re.findall(r"^(\[[^\n]+\]\]?)\n(.*?)(?=^\[|\Z)", part, re.MULTILINE | re.DOTALL):
        if table.startswith("[["):
            if 'listeners = ["public"]' in keys:
                whole = whole.replace('name = "submission"', 'name = "public"')
            whole += f"\n{table}\n{keys}"
        elif table == "[tokens]":
            whole = re.sub(r"^\[tokens\]\n.*?(?=^\[|\Z)", f"{table}\n{keys}\n", whole, flags=re.MULTILINE | re.DOTALL)
        else:
            whole = whole.replace(f"{table}\n", f"{table}\n{keys}\n")
    return whole
