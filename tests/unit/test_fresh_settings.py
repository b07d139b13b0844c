"""spawner.PUT_ASIDE: what a start with fresh settings does in a home."""

import subprocess
from pathlib import Path

from mounts import PUT_ASIDE


def test_settings_are_put_aside_and_nothing_else(tmp_path: Path) -> None:
    """And once more, when some are there again."""
    for name in (".jupyter/lab/theme", ".local/share/jupyter/kernels/x", ".local/lib/package", ".ssh/config", "thesis"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / ".bashrc").symlink_to("/nowhere")
    tmp_path.chmod(0o300)
    subprocess.run(["/bin/sh", "-c", PUT_ASIDE, str(tmp_path)], check=True)
    kept = next(tmp_path.glob("old-settings-*"))
    moved = {str(path.relative_to(kept)) for path in kept.rglob("*") if not path.is_dir()}
    assert moved == {".jupyter/lab/theme", ".local/share/jupyter/kernels/x", ".bashrc"}
    for name in (".local/lib/package", ".ssh/config", "thesis"):
        assert (tmp_path / name).read_text() == name
    assert not (tmp_path / ".jupyter").exists()
