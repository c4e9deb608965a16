import json

from click.testing import CliRunner

from tools.bench_store import main


def test_the_last_line_is_of_what_was_stored() -> None:
    result = CliRunner().invoke(main, ["--completions", "120", "--characters", "10"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.output.splitlines()[-1])
    assert (figures["kind"], figures["completions"], figures["filtered"]) == ("sqlite", 120, 12)
    assert 0 < figures["page_ms"] <= figures["slowest_page_ms"]
