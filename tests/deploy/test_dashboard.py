"""The dashboard of Grafana: each of its queries names figures that exist, and each figure is on it."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.deploy.figures_in_code import OTHERS, all_figures, named

PATH: Final = Path(__file__).parents[2] / "deploy" / "grafana" / "tallystick.json"
PROMTOOL: Final = shutil.which("promtool")
# What Grafana puts in the place of its variables.
VARIABLES: Final = {"$__rate_interval": "5m", "$instance": ".*", "$shard": ".*"}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return found


def expressions() -> list[str]:
    return [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]


def test_each_query_names_figures_that_exist() -> None:
    for expression in expressions():
        figures = named(expression)
        assert figures, expression
        assert figures <= all_figures().keys() | OTHERS, expression


def test_each_figure_is_on_it() -> None:
    on_it = set().union(*map(named, expressions()))
    # One of the three parts of a histogram is enough.
    families = {
        name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in all_figures()
    }
    missing = [name for name in families if not any(one.startswith(name) for one in on_it)]
    assert not missing


def test_panels_have_numbers_places_and_words() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)
    assert all(panel["description"].endswith(".") for panel in panels if panel["type"] != "row")


@pytest.mark.skipif(PROMTOOL is None, reason="there is no promtool: apt-get install prometheus")
def test_each_query_can_be_read_by_prometheus(tmp_path: Path) -> None:
    rules = []
    for number, expression in enumerate(expressions()):
        text = expression
        for variable, value in VARIABLES.items():
            text = text.replace(variable, value)
        assert "$" not in text
        rules.append({"record": f"query_{number}", "expr": text})
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    done = subprocess.run(
        [str(PROMTOOL), "check", "rules", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
