"""One library in a process of its own, which measures what it is told to.

It reads the names of scenarios, one a line, and answers each with a number,
or with "null" if the library cannot do that.
"""

import json
import sys

from libraries import LIBRARIES
from scenarios import SCENARIOS


def main():
    """Measure until there is nothing more to read."""
    library, seconds = LIBRARIES[sys.argv[1]], float(sys.argv[2])
    for line in sys.stdin:
        try:
            number = SCENARIOS[line.rstrip("\n")](library, seconds)
        except (ImportError, NotImplementedError):
            number = None
        print(json.dumps(number), flush=True)


if __name__ == "__main__":
    main()
