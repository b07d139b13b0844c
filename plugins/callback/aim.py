"""End a run that would do nothing and call it a success: tags that no task has, hosts that no group has."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable
from typing import Any

from ansible import context
from ansible.playbook import Playbook
from ansible.playbook.block import Block
from ansible.playbook.play import Play
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: aim
type: aggregate
short_description: Ends a run that is aimed at nothing
description:
  - A tag that no task has, or a play that no host of the inventory is in, is an error and not a success.
"""

# Of Ansible itself.
SPECIAL = frozenset({"all", "always", "never", "tagged", "untagged"})
# What Molecule has every run skip.
MOLECULE = re.compile(r"(molecule-([a-z]+-)?)?notest")


def tags_of(blocks: Iterable[Any]) -> set[str]:
    """The tags of all tasks in blocks of tasks and of blocks."""
    found: set[str] = set()
    for thing in blocks:
        found |= {str(tag) for tag in thing.tags}
        if isinstance(thing, Block):
            found |= tags_of([*thing.block, *thing.rescue, *thing.always])
    return found


def meant(name: str, known: Iterable[str]) -> str:
    """The nearest known name, else all of them."""
    names = sorted(known)
    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=0.5)), "one of " + ", ".join(names))


def end(text: str) -> None:
    """End Ansible, which takes an exception of a callback for a warning, before anything is changed."""
    sys.exit(f"{text} Nothing was changed.")


class CallbackModule(CallbackBase):
    """Looks at what the command line asks for when a playbook and a play begin."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "jupyterhub.home.aim"

    play: Play

    def v2_playbook_on_start(self, playbook: Playbook) -> None:
        """Tags and skipped tags must be some task's."""
        asked = {*context.CLIARGS.get("tags", ()), *context.CLIARGS.get("skip_tags", ())} - SPECIAL
        asked = {tag for tag in asked if not MOLECULE.fullmatch(tag)}
        if not asked:
            return
        known = set().union(
            *(tags_of([*play.pre_tasks, *play.tasks, *play.post_tasks]) for play in playbook.get_plays())
        )
        for tag in sorted(asked - known):
            if not known - SPECIAL:
                end(f"This playbook has no tags, so --tags {tag} would leave nothing of it. Write: no tag.")
            end(f"There is no tag {tag}. Write: --tags {meant(tag, known - SPECIAL)}.")

    def v2_playbook_on_play_start(self, play: Play) -> None:
        """Remember it, for the next event comes without."""
        self.play = play

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """The play's group, cut down by --limit, must have a host."""
        wanted, limit = str(self.play.hosts[0]), context.CLIARGS.get("subset")
        inventory = self.play.get_variable_manager()._inventory
        groups = set(inventory.groups) - {"all", "ungrouped"}
        if wanted not in groups:
            instead = f", in place of {meant(wanted, groups)}" if groups else ""
            end(f"The inventory has no group {wanted}. Write: [{wanted}]{instead}.")
        hosts = [host.name for host in inventory.groups[wanted].get_hosts()]
        if not hosts:
            end(f"The group {wanted} of the inventory has no host. Write one into it, as in inventory/home.")
        end(f"No host of the group {wanted} fits --limit {limit}. Write: --limit {meant(str(limit), hosts)}.")
