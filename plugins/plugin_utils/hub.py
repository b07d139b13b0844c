"""What the hub reads: its settings, and those of users' servers."""

from __future__ import annotations

from typing import Any

from ansible_collections.jupyterhub.home.plugins.plugin_utils.images import digest
from ansible_collections.jupyterhub.home.plugins.plugin_utils.users import present


def has_other_login(config: dict[str, Any], extra_config: str) -> bool:
    """Whether another authenticator than ours is chosen, which then decides whom the hub knows."""
    return "authenticator_class" in (config.get("JupyterHub") or {}) or "authenticator_class" in extra_config


def hub_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """hub.json but for `config`, which may hold secrets."""
    return {
        "project": settings["project"],
        "base_url": settings["base_url"],
        "admin_access": settings["admin_access"],
    }


def spawner_settings(settings: dict[str, Any], user_image: str, has_ca_bundle: bool) -> dict[str, Any]:
    """spawner.json; a limit that is not set is None."""
    return {
        "base_url": settings["base_url"],
        "image": user_image,
        "default_url": settings["default_url"],
        "memory_limit": settings["memory_limit"] or None,
        "cpu_limit": settings["cpu_limit"] or None,
        "pids_limit": settings["pids_limit"] or None,
        "mounts": settings["mounts"],
        "ca_bundle": settings["ca_bundle"] if has_ca_bundle else None,
        "idle_timeout": settings["idle_timeout"],
    }


def start_digest(hub: dict[str, Any], config: dict[str, Any], extra_config: str, users: list[dict[str, Any]]) -> str:
    """A digest of what the hub reads only when it starts: with another one its container is made anew.

    Another authenticator than ours reads the admins then; so they are in it.
    """
    other = has_other_login(config, extra_config)
    admins = sorted(user["name"] for user in users if user.get("admin") and present(user))
    return digest({**hub, "config": config}, extra_config, admins if other else [])
