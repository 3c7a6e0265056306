"""Chromium, without a window, draws a page into a PNG file."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import ConsoleMessage, Error, sync_playwright

from drawing import WIDTH


class Wrong(Exception):
    """The page said that something is wrong with it."""


def draw(chromium: str, html: str, picture: Path) -> None:
    """The whole page, however high. Raises Wrong."""
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"]  # as root Chromium runs with nothing else; the page is our own and loads nothing
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        wrong: list[str] = []

        def hear(message: ConsoleMessage) -> None:
            wrong.append(message.text)

        def note(error: Error) -> None:
            wrong.append(str(error))

        page = browser.new_page(viewport={"width": WIDTH, "height": 900})
        page.on("console", hear)
        page.on("pageerror", note)
        page.set_content(html)
        picture.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=picture, full_page=True)
        browser.close()
    if wrong:
        raise Wrong(f"{picture.name}: {wrong}")
