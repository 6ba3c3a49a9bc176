"""The one error for a broken Go rule; every module of the domain that knows a rule raises it."""


class RuleBroken(ValueError):  # noqa: N818 - it reads as what happened
    """A value breaks a rule of Go's modules.

    `rule` is a stable code (`path_no_dot`); `message` names the value and the rule and is safe to show.
    """

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
