"""What a backup and a restore cost, beside restic alone on the same files."""

from __future__ import annotations

from place import Figures, inside, timed
from runs import JOB, declaring, put_list, user

FILES, SIZE = 20_000, 500_000  # and bytes of each
USER, LOCKED = "user0", "!"
FOLDER = f"/var/lib/docker/volumes/jupyterhub-home-user-{USER}/_data/files"
FILL = f"""
import os, pathlib
for number in range({FILES}):
    file = pathlib.Path("{FOLDER}", str(number % 200), str(number))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(os.urandom({SIZE}))
"""
ALONE = "RESTIC_PASSWORD=bench restic --quiet --repo /srv/alone"
OURS = "-i inventory/home -e jupyterhub_home_backup_repository=/srv/ours -e jupyterhub_home_backup_password=bench"
BACKUP = f"ansible-playbook playbooks/backup.yml {OURS}"
RESTORE = f"ansible-playbook playbooks/restore.yml {OURS} -e jupyterhub_home_restore_user={USER}"
KEPT = "docker volume ls --quiet --filter name=jupyterhub-home-kept- | xargs --no-run-if-empty docker volume rm"


def prepare() -> None:
    """Fill the volume of a user, and have restic installed."""
    put_list("saved", [user(0, password_hash=LOCKED)])
    inside(f"{JOB} {declaring('saved')}; {BACKUP}; rm -r /srv/ours; python3 -", FILL)


def measure(url: str, figures: Figures) -> None:
    """Take every figure once, in seconds; a repository is new each time."""
    figures["backup alone"].append(timed(lambda: inside(f"{ALONE} init && {ALONE} backup {FOLDER}")))
    # The last one is not where it was, which a run would ask about.
    inside("rm -f /opt/jupyterhub-home/state/backup.json")
    figures["backup"].append(timed(lambda: inside(BACKUP)))
    figures["backup again"].append(timed(lambda: inside(BACKUP)))
    figures["restore alone"].append(timed(lambda: inside(f"{ALONE} restore latest --target /srv/back")))
    inside("rm -r /srv/back")
    figures["restore"].append(timed(lambda: inside(RESTORE)))
    inside(f"{KEPT}; rm -r /srv/alone /srv/ours")
