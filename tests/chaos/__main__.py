"""`python -m tests.chaos [--seed N] [--minutes M] [--database sqlite|postgresql]`; status 1 unless all was well."""

from __future__ import annotations

import argparse
import random
import sys

from tests.chaos.session import Plan, run


def main() -> int:
    """Run one session and print what happened; the last line sums it up."""
    options = _parser().parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    print(f"chaos: seed={seed} database={options.database} minutes={options.minutes:g}", flush=True)
    result = run(Plan(seed, options.minutes * 60, options.database))
    for sentence in [
        *result.remarks,
        *(f"LOST: {each}" for each in result.lost),
        *(f"WRONG: {e}" for e in result.wrong),
    ]:
        print(sentence)
    print(result.line())
    return 0 if result.good else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    return parser


if __name__ == "__main__":
    sys.exit(main())
