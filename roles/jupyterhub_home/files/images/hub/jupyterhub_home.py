"""The classes of this hub, by the name that the owner's own Python may import them with."""

from authenticator import HomeAuthenticator
from spawner import HomeSpawner

__all__ = ["HomeAuthenticator", "HomeSpawner"]
