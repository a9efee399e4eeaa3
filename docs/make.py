"""Build the pages of the manual from their sources.

With the argument "--check" nothing is written, but it is told whether the
built pages are up to date.
"""

import sys
from pathlib import Path

from docutils.core import publish_string

FOLDER = Path(__file__).parent

# each page with its language and its sister in the other language
PAGES = {
    "main": "en", "main.de": "de", "changelog": "en", "contributing": "en"}

SETTINGS = {
    "embed_stylesheet": False,
    "stylesheet_path": "doc.css",
    "stylesheet_dirs": [],
    "generator": False,
    "datestamp": False,
    "source_link": False,
    "toc_backlinks": False,
    "smart_quotes": False,
    "syntax_highlight": "none",
    "table_style": "colwidths-auto",
    "math_output": "MathML",
    "report_level": 2,
    "halt_level": 2,
    "input_encoding": "utf-8",
    "output_encoding": "utf-8",
    "_disable_config": True,
}


def build(name):
    """Return a page as HTML."""
    source = FOLDER / f"{name}.rst"
    html = publish_string(
        source.read_text(encoding="utf-8"), source_path=source.name,
        writer_name="html5", settings_overrides={
            **SETTINGS, "language_code": PAGES[name]})
    lines = [
        line for line in html.decode("utf-8").splitlines()
        if 'name="generator"' not in line]  # it names the release
    return "\n".join(lines) + "\n"


def main(arguments):
    """Build or check all pages; return the exit status."""
    stale = []
    for name in PAGES:
        page = FOLDER / f"{name}.html"
        html = build(name)
        if "--check" not in arguments:
            page.write_text(html, encoding="utf-8")
            print(f"built {page.name}")
        elif not page.exists() or page.read_text(encoding="utf-8") != html:
            stale.append(page.name)
    if stale:
        print(f"not up to date: {', '.join(stale)} (run docs/make.py)")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
