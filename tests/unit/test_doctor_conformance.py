"""What the doctor says of a proxy's answers."""

from app.doctor.conformance import check_redirects
from app.doctor.observed import Answer

PROXY = "https://proxy.example/a.b/c/@v/v1.0.0"


def test_redirects_are_fine_for_go_and_told_of() -> None:
    mod = Answer(f"{PROXY}.mod", 200, {}, b"module a.b/c\n")
    zipped = Answer("https://storage.example/x.zip?signature=hunter2", 200, {}, b"PK", hops=(f"{PROXY}.zip",))
    assert check_redirects("a.b/c@v1.0.0", [("mod", mod)]) == []
    (check,) = check_redirects("a.b/c@v1.0.0", [("mod", mod), ("zip", zipped)])
    assert check.result == "skip"
    assert check.seen.startswith("zip to storage.example: ")
    assert "hunter2" not in check.seen
