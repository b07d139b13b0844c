"""Images made anew beside those that are there, what differs in them, and the new ones in the place of the old."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.base_image import make_base
from ansible_collections.jupyterhub.home.plugins.module_utils.building import build, run_docker
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import has_image, remove_image, told

STAGED = "-renewed"
NOTHING = "Nothing to renew: the packages in the images are those of today."
AT_NEXT_START = "Running servers take their new image at their next start."
STILL_OLD = "On the image from before until their next start (in the hub: Home, Stop My Server), the servers of: {}"
# Debian's packages, then Python's, a line each with name and version; an image from elsewhere may lack either program.
LIST = """
dpkg-query --show --showformat '${Package} ${Version}\\n' 2>/dev/null || :
python3 -c 'import importlib.metadata as m
for d in m.distributions(): print(d.metadata["Name"], d.version, "(Python)")' 2>/dev/null || :
"""


class Change(NamedTuple):
    """A package that differs; '' where it is not there."""

    package: str
    current: str
    renewed: str


def contents(image: str) -> dict[str, str]:
    """The packages in an image, by name with what they are, and their versions."""
    inside = ["run", "--rm", "--network=none", "--entrypoint=sh", image, "-c", LIST]
    words = [line.split(" ", 2) for line in run_docker(f"Listing the packages of {image}", *inside).splitlines()]
    return {" ".join([name, *kind]): version for name, version, *kind in words}


def changes(current: dict[str, str], renewed: dict[str, str]) -> list[Change]:
    """What differs between the packages of two images."""
    names = sorted(current.keys() | renewed.keys())
    both = [Change(name, current.get(name, ""), renewed.get(name, "")) for name in names]
    return [change for change in both if change.current != change.renewed]


def identity(image: str) -> str:
    """Of an image; '' if it is not there."""
    return told("image", "inspect", "--format", "{{.Id}}", image)


def stands_on(image: str, base: str) -> bool:
    """Whether an image's lowest layers are all of the base's."""
    layers = [told("image", "inspect", "--format", "{{json .RootFS.Layers}}", one) for one in (image, base)]
    return layers[0].startswith(layers[1].rstrip("]"))


class Renewal:
    """Makes images anew under other names.

    staged: {image: the name that its new one has}, of those that differ. changes: what differs, by image; of an image
    that is used as it is, nothing is said of its packages.
    """

    def __init__(self, base: dict[str, Any], project: str, secrets: dict[str, str]) -> None:
        self.base, self.project, self.secrets = base, project, secrets
        self.staged: dict[str, str] = {}
        self.changes: dict[str, list[Change]] = {}

    def run(self, builds: list[dict[str, Any]], pulls: list[str]) -> None:
        """Make them all; ImageError where one cannot be had, and then none takes another's place."""
        try:
            new_base = self.make_base()
            for name in pulls:
                self.pull(name)
            for image in builds:
                self.build(image, new_base)
            self.compare(self.base["tag"])
        except BaseException:
            for staged in self.staged.values():
                remove_image(staged)
            raise

    def make_base(self) -> str:
        """Make or pull the base; returns the name that builds stand on."""
        tag = self.base["tag"]
        if not self.base["suite"]:
            run_docker(f"Pulling the base image {tag}", "pull", "--quiet", tag)
            return str(tag)
        self.staged[tag] = tag + STAGED
        make_base(tag + STAGED, self.base["suite"], self.base["packages"], self.base["dpkg"])
        return str(tag + STAGED)

    def build(self, image: dict[str, Any], base: str) -> None:
        """Build an image on the new base, without what earlier builds left; one without a difference goes."""
        tag = image["tag"]
        self.staged[tag] = tag + STAGED
        build(base, {**image, "tag": tag + STAGED}, self.secrets, "--no-cache")
        self.compare(tag, other=not self.base["suite"] and not stands_on(tag, base))

    def compare(self, tag: str, *, other: bool = False) -> None:
        """Note what differs in a new image, and let go of it where nothing does; other: there is another reason."""
        if tag not in self.staged:  # a base that was pulled
            return
        there = has_image(tag)
        self.changes[tag] = changes(contents(tag), contents(self.staged[tag])) if there else []
        if there and not self.changes[tag] and not other:
            remove_image(self.staged.pop(tag))

    def pull(self, image: str) -> None:
        """Pull an image, whose name stays with the old one until the new one is put into its place."""
        current = identity(image)
        run_docker(f"Pulling {image}", "pull", "--quiet", image)
        renewed = identity(image)
        if renewed in ("", current) or "@" in image:
            return
        self.changes[image] = []
        name = f"{self.project}/user:{hashlib.sha256(image.encode()).hexdigest()[:12]}{STAGED}"
        if current:
            run_docker(f"Keeping {name}", "tag", image, name)
            run_docker(f"Keeping {image}", "tag", current, image)
            self.staged[image] = name

    def tell(self) -> list[str]:
        """What differs, a line an image."""
        lines = []
        for image, found in sorted(self.changes.items()):
            if image not in self.staged or image == self.base["tag"]:  # whose packages are in the others
                continue
            said = [f"{one.package} {one.current or 'none'} -> {one.renewed or 'none'}" for one in found]
            lines.append(f"Renewed {image}: {', '.join(said) or 'another image'}")
        return [*lines, AT_NEXT_START] if lines else [NOTHING]


def users_on_others(images: set[str]) -> list[str]:
    """Users whose servers run on none of these images, by their identities."""
    form = f'{{{{index .Config.Labels "{contract.USER_LABEL}"}}}} {{{{.Image}}}}'
    servers = told("ps", "--quiet", "--filter", f"label={contract.PROJECT_LABEL}").split()
    found = told("inspect", "--format", form, *servers).splitlines() if servers else []
    return sorted({user for user, _, image in (line.rpartition(" ") for line in found) if image not in images})


def take(project: str, staged: dict[str, str]) -> list[str]:
    """Put new images in the place of the old, whose names then carry their identity, until nothing uses them.

    Returns a line about the users whose servers run on an old one, if there are any.
    """
    taken: set[str] = set()  # of users' servers
    for image, new in staged.items():
        of_users = image.startswith(f"{project}/user:") or not image.startswith(f"{project}/")
        if current := identity(image):
            kept = f"{project}/user" if not image.startswith(f"{project}/") else image.rpartition(":")[0]
            run_docker(f"Keeping the old {image}", "tag", image, f"{kept}:{current.removeprefix('sha256:')[:12]}")
        run_docker(f"Replacing {image}", "tag", new, image)
        taken |= {identity(image)} if of_users else set()
        remove_image(new)
    users = users_on_others(taken) if taken else []
    return [STILL_OLD.format(", ".join(users))] if users else []
