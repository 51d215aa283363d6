"""What `tallystick up` runs in a data folder."""

from pathlib import Path

import pytest

from tallystick.cli.errors import CommandError
from tallystick.cli.layout import layout_of
from tallystick.service.configuration import (
    Configuration,
    NodeConfiguration,
    ShardConfiguration,
    write_configuration,
)


def remember(folder: Path, nodes: dict[str, list[int]]) -> None:
    """Leave a folder as a run with these nodes does."""
    for name in nodes:
        (folder / name).mkdir(exist_ok=True)
    configuration = Configuration(
        node=[
            NodeConfiguration(name, [ShardConfiguration(number, f"dbname=s{number}") for number in numbers])
            for name, numbers in nodes.items()
        ]
    )
    write_configuration(folder / "tallystick.toml", configuration)


def nodes(folder: Path, *, shards: int | None = None, nodes: int | None = None) -> dict[str, list[int]]:
    return layout_of(folder, folder / "tallystick.toml", shards=shards, nodes=nodes).nodes


def test_a_new_folder_has_two_shards_on_two_nodes(tmp_path: Path) -> None:
    assert nodes(tmp_path) == {"postgres_1": [1], "postgres_2": [2]}


def test_shards_are_dealt_out_to_the_nodes(tmp_path: Path) -> None:
    assert nodes(tmp_path, shards=5) == {"postgres_1": [1, 3, 5], "postgres_2": [2, 4]}
    assert nodes(tmp_path, shards=1, nodes=1) == {"postgres_1": [1]}
    assert nodes(tmp_path, nodes=3) == {"postgres_1": [1], "postgres_2": [2], "postgres_3": [3]}


def test_a_later_start_has_what_there_was(tmp_path: Path) -> None:
    there = {"postgres_1": [1, 3], "postgres_2": [2]}
    remember(tmp_path, there)
    assert nodes(tmp_path) == nodes(tmp_path, shards=3) == nodes(tmp_path, nodes=2) == there


def test_more_is_added_and_nothing_moves(tmp_path: Path) -> None:
    remember(tmp_path, {"postgres_1": [1, 3], "postgres_2": [2]})
    assert nodes(tmp_path, shards=4) == {"postgres_1": [1, 3], "postgres_2": [2, 4]}
    assert nodes(tmp_path, shards=5, nodes=3) == {
        "postgres_1": [1, 3],
        "postgres_2": [2, 5],
        "postgres_3": [4],
    }


def test_a_folder_of_before_has_one_node_with_another_name(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    configuration = Configuration([ShardConfiguration(1, "dbname=shard_1")])
    write_configuration(tmp_path / "tallystick.toml", configuration)
    assert nodes(tmp_path) == {"postgres": [1]}
    assert nodes(tmp_path, shards=2, nodes=2) == {"postgres": [1], "postgres_2": [2]}


def test_nodes_of_others_are_left_alone(tmp_path: Path) -> None:
    remember(tmp_path, {"postgres_1": [1], "postgres_2": [2]})
    path = tmp_path / "tallystick.toml"
    path.write_text(
        path.read_text() + '[[node]]\nname = "far"\n[[node.shard]]\nnumber = 9\ndsn = "host=far dbname=far"\n'
    )
    assert nodes(tmp_path) == {"postgres_1": [1], "postgres_2": [2]}
    assert nodes(tmp_path, shards=3) == {"postgres_1": [1, 10], "postgres_2": [2]}


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"shards": 2}, "there are 3 shards already"),
        ({"nodes": 1}, "there are 2 nodes already"),
        ({"nodes": 3}, "add --shards 4"),
    ],
)
def test_less_is_refused(tmp_path: Path, wanted: dict[str, int], words: str) -> None:
    remember(tmp_path, {"postgres_1": [1, 3], "postgres_2": [2]})
    with pytest.raises(CommandError) as refused:
        nodes(tmp_path, **wanted)
    assert words in refused.value.message


def test_a_node_that_was_lost_is_not_made_anew(tmp_path: Path) -> None:
    remember(tmp_path, {"postgres_1": [1, 3], "postgres_2": [2]})
    (tmp_path / "postgres_2").rmdir()
    with pytest.raises(CommandError, match="postgres_2 is missing, with the shards 2: bring it back"):
        nodes(tmp_path)
