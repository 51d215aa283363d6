"""The nodes that `tallystick up` runs, and the shards of each. Both are kept, and more can be added."""

import re
from pathlib import Path
from typing import Final, NamedTuple

from tallystick.cli.errors import CommandError
from tallystick.service.configuration import Configuration, read_owner_configuration

SHARD_COUNT_DEFAULT: Final = 2
NODE_COUNT_DEFAULT: Final = 2

# Data folders of earlier versions have one server and one shard.
_FIRST_FOLDER_BEFORE: Final = "postgres"
_OWN_NODE: Final = re.compile(r"postgres(_[1-9][0-9]*)?")


class Layout(NamedTuple):
    """The names of the nodes, which are those of their folders, with the numbers of their shards."""

    nodes: dict[str, list[int]]
    before: Configuration
    """The content of the configuration file; empty for a new data folder."""

    @property
    def shard_count(self) -> int:
        """The number of shards on these nodes."""
        return sum(map(len, self.nodes.values()))


def layout_of(folder: Path, configuration_path: Path, *, shards: int | None, nodes: int | None) -> Layout:
    """What to run in a data folder: what it has, and what is to be added.

    `shards` and `nodes` are the counts wanted; None leaves them as they are.
    """
    before = read_owner_configuration(configuration_path) if configuration_path.exists() else Configuration()
    layout = _existing(folder, before)
    node_count = max(1, len(layout.nodes)) if nodes is None and layout.nodes else nodes or NODE_COUNT_DEFAULT
    shard_count = layout.shard_count if shards is None and layout.nodes else shards
    if shard_count is None:
        shard_count = max(SHARD_COUNT_DEFAULT, node_count)
    _expect_no_less("nodes", node_count, len(layout.nodes))
    _expect_no_less("shards", shard_count, layout.shard_count)
    for _ in range(node_count - len(layout.nodes)):
        layout.nodes[f"{_FIRST_FOLDER_BEFORE}_{len(layout.nodes) + 1}"] = []
    number = max([0, *before.dsns])
    for _ in range(shard_count - layout.shard_count):
        number += 1
        emptiest = min(layout.nodes, key=lambda name: len(layout.nodes[name]))
        layout.nodes[emptiest].append(number)
    if empty := [name for name, carried in layout.nodes.items() if not carried]:
        raise CommandError(
            f"{node_count} nodes need at least {layout.shard_count + len(empty)} shards here: "
            f"add --shards {layout.shard_count + len(empty)}, or ask for fewer --nodes"
        )
    return layout


def _existing(folder: Path, before: Configuration) -> Layout:
    own = {
        node.name: [shard.number for shard in node.shard]
        for node in before.node
        if _OWN_NODE.fullmatch(node.name)
    }
    if before.shard:
        own = {_FIRST_FOLDER_BEFORE: [shard.number for shard in before.shard], **own}
    for name in own:
        if not (folder / name).is_dir():
            raise CommandError(
                f"{folder / name} is missing, with the shards {', '.join(map(str, own[name]))}: bring it back"
            )
    return Layout(own, before)


def _expect_no_less(what: str, asked: int, existing: int) -> None:
    if asked < existing:
        raise CommandError(
            f"there are {existing} {what} already, which keep their accounts: leave --{what} out, or ask for more"
        )
