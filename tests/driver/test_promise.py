"""The README's promise is what the last full runs counted."""

import re

from support import promise


def test_the_readme_quotes_the_counts_of_the_pages() -> None:
    assert promise.quoted(promise.README.read_text()) == promise.quotation()


def test_no_run_needed_a_second_command_and_no_object_was_lost() -> None:
    sweeps = [line for line in promise.counts(promise.PAGES[0]) if line.startswith("Killed ")]
    assert len(sweeps) == 2
    for line in sweeps:
        runs, converged, second, stake, lost = (
            int(number.replace(",", "")) for number in re.findall(r"\b[\d,]*\d\b", line)
        )
        assert runs == converged > 100
        assert stake > 100
        assert (second, lost) == (0, 0)
