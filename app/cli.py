"""The `modsync` command."""


def main() -> None:
    """Placeholder until the commands land."""
