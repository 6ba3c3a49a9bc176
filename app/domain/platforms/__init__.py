"""One parser per platform: a verified payload becomes a release, or a reason why it is none."""
