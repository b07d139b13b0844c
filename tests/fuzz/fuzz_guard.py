"""Requests that coverage leads to, at a guard before a recording engine: `make fuzz`.

Whatever they are, the engine is asked to change nothing but a declared server. libFuzzer's options are taken, such as
-max_total_time=600 (seconds) or a file to try again.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

# Only requirements/fuzz.txt has it, and it has no types.
import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests/support"), str(ROOT / "roles/jupyterhub_home/files/images/hub")]
with atheris.instrument_imports(include=["guard", "spawner", "aiohttp.web_request", "aiohttp.http_parser"]):
    import guard
# Behind what sets the path, and what instruments the guard when it is imported first.
import pytest  # noqa: E402
from guarded_hub import SERVER, Hub, guarded_hubs  # noqa: E402
from hub_settings import settings_in  # noqa: E402
from recording_engine import API, ID  # noqa: E402

OWN_CALLS = re.compile(rf"{API}/containers/{ID}(/start|/stop|\?v=True&link=False&force=False)")
HEADS = [
    f"POST {API}/containers/create?name=home-user-bob", f"GET {API}/containers/home-user-bob/json",
    f"POST {API}/containers/other/stop", f"DELETE {API}/containers/home-user-bob?v=True", "GET /version",
    f"GET {API}/images/user:1/json", f"POST {API}/images/create?fromImage=user&tag=1",
    f"POST {API}/containers/home-user-bob/exec", f"PUT {API}/containers/{ID}/archive?path=/",
]  # fmt: skip
hub: Hub
declared: Any


KEYS = [
    "User", "Image", "Cmd", "Entrypoint", "Env", "Labels", "Volumes", "HostConfig", "hostconfig", "Binds", "Mounts",
    "Source", "Privileged", "VolumesFrom", "NetworkMode", "PidMode", "CapAdd", "SecurityOpt", "Devices",
]  # fmt: skip
VALUES: list[Any] = [
    "0",
    "/",
    "host",
    "",
    "bob",
    "alice",
    True,
    False,
    None,
    0,
    -1,
    2**70,
    [],
    {},
    ["ALL"],
    ["/:/host"],
]


def change(value: Any, provider: Any) -> Any:
    """Nested data with something else at one place."""
    if isinstance(value, dict) and value and provider.ConsumeIntInRange(0, 3):
        key = provider.PickValueInList([*value, *KEYS])
        return {**value, key: change(value.get(key), provider)}
    if isinstance(value, list) and value and provider.ConsumeIntInRange(0, 3):
        at = provider.ConsumeIntInRange(0, len(value) - 1)
        return [*value[:at], change(value[at], provider), *value[at + 1 :]]
    if provider.ConsumeBool():
        return provider.PickValueInList(VALUES)
    return {provider.PickValueInList(KEYS): provider.ConsumeUnicodeNoSurrogates(16)}


def spliced(text: bytes, provider: Any, longest: int) -> bytes:
    """A text in which some bytes stand in the place of others."""
    at = provider.ConsumeIntInRange(0, len(text))
    end = at + provider.ConsumeIntInRange(0, longest)
    return text[:at] + bytes(provider.ConsumeBytes(provider.ConsumeIntInRange(0, longest))) + text[end:]


def request_of(data: bytes) -> bytes:
    """Bytes for the socket: a request that is like the real one, or bytes as they come."""
    provider = atheris.FuzzedDataProvider(data)
    kind = provider.ConsumeIntInRange(0, 9)
    if kind == 0:
        return bytes(provider.ConsumeBytes(4096))
    asked = declared
    for _ in range(provider.ConsumeIntInRange(0, 3)):
        asked = change(asked, provider)
    head, body = provider.PickValueInList(HEADS).encode(), json.dumps(asked).encode()
    if kind < 4:
        head, body = spliced(head, provider, 16), spliced(body, provider, 64)
    more = bytes(provider.ConsumeBytes(provider.ConsumeIntInRange(0, 64))) + b"\r\n" if kind == 4 else b""
    return b"%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n%s" % (
        head,
        len(body),
        more,
        body,
    )


def try_one(data: bytes) -> None:
    """Send one; AssertionError when the engine is asked for what is not declared."""
    hub.engine.asked.clear()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(0.2)  # half a request gets no answer
        client.connect(str(hub.path))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            client.sendall(request_of(data))
            while client.recv(65536):
                pass
    for method, path, body in hub.engine.did():
        if path == f"{API}/containers/create?name=home-user-bob":
            assert {**body, "Env": []} == {**declared, "Env": []}, body
        else:
            pulls = path.startswith(f"{API}/images/create?tag=1&fromImage=user")
            assert pulls or OWN_CALLS.fullmatch(path), (method, path)


def main() -> None:
    global hub, declared  # libFuzzer's callback takes data alone
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
        hub = stack.enter_context(guarded_hubs(settings_in(folder, monkeypatch), folder, monkeypatch))()
        declared = hub.body()
        hub.engine.containers |= {"home-user-bob": SERVER, ID: SERVER, "other": {}}
        monkeypatch.setattr(guard, "print", lambda *_, **__: None, raising=False)  # a line for each that is refused
        seeds = folder / "seeds"  # without any, it begins with requests that are too short to be like one
        seeds.mkdir()
        for number in range(200):
            (seeds / str(number)).write_bytes(random.Random(number).randbytes(200))  # noqa: S311 (the same seeds each time; no secret)
        atheris.Setup([*sys.argv, "-max_len=4096", str(seeds)], try_one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
