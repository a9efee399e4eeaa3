"""The folders of the checkout that tests refer to."""

from pathlib import Path

SUPPORT = Path(__file__).resolve().parent
TESTS = SUPPORT.parent
BENCHMARKS = TESTS / "benchmarks"
ROOT = TESTS.parent
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
