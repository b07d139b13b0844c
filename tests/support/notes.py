"""What a run says of its deeds, and what check mode says in place of it."""

from __future__ import annotations

CONDITIONAL = {
    "Accounts removed": "Accounts would be removed",
    "Added to the hub": "Would be added to the hub",
    "Admin now": "Would be admin",
    "Connected": "Would be connected",
    "Groups removed": "Groups would be removed",
    "Labelled": "Would be labelled",
    "Mended in the hub's database": "Would be mended in the hub's database",
    "Named": "Would be named",
    "Network made anew": "Network would be made anew",
    "No admin": "Would be no admin",
    "Other groups": "Would have other groups",
    "Paused": "Would be paused",
    "Removed": "Would be removed",
    "Sessions ended": "Sessions would be ended",
    "Their servers were running, and are stopped": "Their servers are running, and would be stopped",
    " archived": " would be archived",
    " carried over": " would be carried over",
    " deleted": " would be deleted",
}


def foretold(note: str) -> str:
    """A note as check mode has it; one that states what is found is the same."""
    if not note.startswith("Found: "):
        for done, would in CONDITIONAL.items():
            if note.startswith(done) or (done.startswith(" ") and done in note):
                return note.replace(done, would, 1)
    return note
