"""The modules of the package, as they stand in the checkout."""

import ast

from folders import ROOT

PACKAGE = ROOT / "dbutils"
MODULES = sorted(
    path for path in PACKAGE.rglob("*.py") if path.read_text(encoding="utf-8"))


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path):
    """Return the name of a module within the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
