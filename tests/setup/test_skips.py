# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of plugins/skips.py: pytest runs in pytest, as in CI and as at home."""

from pathlib import Path

import pytest

SKIPS = """
    import pytest

    def test_runs():
        assert True

    @pytest.mark.skip(reason="no /dev/kvm here")
    def test_by_mark():
        assert False

    def test_by_call():
        pytest.skip("moon is full")

    @pytest.mark.xfail(reason="known", strict=True)
    def test_expected_to_fail():
        assert False
"""


def run(pytester: pytest.Pytester, *allowed: str) -> pytest.RunResult:
    """Run the tests of pytester in a separate process, with these reasons allowed."""
    listing = pytester.path / "allowed.txt"
    listing.write_text("# why\n\n" + "".join(f"{line}\n" for line in allowed))
    tests = Path(__file__).resolve().parent.parent
    pytester.makeini(f"[pytest]\npythonpath = {tests}\n")
    pytester.makeconftest('pytest_plugins = ["plugins.skips"]')
    return pytester.runpytest_subprocess(f"--allowed-skips={listing}", "-p", "no:cacheprovider")


@pytest.fixture
def in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")


@pytest.fixture
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)


@pytest.mark.usefixtures("in_ci")
def test_ci_fails_on_a_skip(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SKIPS)
    result = run(pytester)
    # A skip by mark happens in a test's set-up, where pytest reports a failure as an error.
    result.assert_outcomes(passed=1, errors=1, failed=1, xfailed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*CI allows no skip for this reason: moon is full*"])


@pytest.mark.usefixtures("in_ci")
def test_ci_lets_an_allowed_reason_pass(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SKIPS)
    result = run(pytester, "no /dev/kvm*", "moon is ????")
    result.assert_outcomes(passed=1, skipped=2, xfailed=1)
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.usefixtures("in_ci")
def test_ci_wants_the_whole_reason_to_fit(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SKIPS)
    result = run(pytester, "no /dev/kvm", "moon is full")
    result.assert_outcomes(passed=1, skipped=1, errors=1, xfailed=1)


@pytest.mark.usefixtures("in_ci")
@pytest.mark.parametrize(
    "text",
    [
        "import pytest\npytest.skip('no guest', allow_module_level=True)",
        "import pytest\npytest.importorskip('no_such_module')",
    ],
)
def test_ci_fails_when_a_module_skips_itself(pytester: pytest.Pytester, text: str) -> None:
    pytester.makepyfile(text)
    result = run(pytester)
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.INTERRUPTED


@pytest.mark.usefixtures("in_ci")
def test_ci_fails_when_a_fixture_skips(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.fixture
        def guest():
            pytest.skip("no kernel")

        def test_in_guest(guest):
            pass
    """)
    result = run(pytester)
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.usefixtures("at_home")
def test_at_home_a_skip_stays_a_skip(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SKIPS)
    result = run(pytester)
    result.assert_outcomes(passed=1, skipped=2, xfailed=1)
    assert result.ret == pytest.ExitCode.OK
