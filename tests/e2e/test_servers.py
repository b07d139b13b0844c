"""What a user has in their server."""

from __future__ import annotations

import json
from typing import Any

from conftest import ClientFactory
from testinfra.host import Host

MIB = 1024**2


def inspect(host: Host, container: str) -> dict[str, Any]:
    """What Docker knows of a container."""
    record: dict[str, Any] = json.loads(host.check_output(f"docker inspect {container}"))[0]
    return record


def test_opens_jupyterlab(serve: ClientFactory) -> None:
    alice = serve("alice.smith")
    page = alice.get("/user/alice.smith/")
    assert page.ok
    assert page.url == alice.url + "/user/alice.smith/lab"


def test_classic_interface_is_there_too(serve: ClientFactory) -> None:
    """What jupyterhub_home_default_url: /tree opens."""
    page = serve("alice.smith").get("/user/alice.smith/tree")
    assert page.ok
    assert "Jupyter Notebook" in page.text, "JupyterLab's page, which has it nowhere"


def test_kernel_computes(serve: ClientFactory) -> None:
    assert serve("alice.smith").run("5 * 4") == "20"


def test_ready_means_ready(login: ClientFactory) -> None:
    """The hub must not take another's server for one that it has just started.

    alice's server gets the address that bob's had; names cached in the hub would still say bob.
    """
    alice, bob = login("alice.smith"), login("bob")
    alice.stop()
    bob.stop()
    bob.spawn()
    bob.stop()
    alice.spawn()
    bob.spawn()
    assert bob.get("/user/bob/api").status_code == 200
    bob.stop()


def test_limits(serve: ClientFactory, host: Host) -> None:
    serve("alice.smith")
    limits = inspect(host, "jupyterhub-home-user-alice-2esmith")["HostConfig"]
    assert limits["Memory"] == 512 * MIB
    assert limits["MemorySwap"] == limits["Memory"], "swap beyond the memory limit"
    assert limits["PidsLimit"] == 300
    cpus = limits["NanoCpus"] / 1e9 or limits["CpuQuota"] / limits["CpuPeriod"]
    assert cpus == 1.5


def test_process_limit_holds(serve: ClientFactory) -> None:
    output = serve("alice.smith").run(
        "import threading, time\n"
        "try:\n"
        "    for count in range(1000):\n"
        "        threading.Thread(target=time.sleep, args=(30,), daemon=True).start()\n"
        "except RuntimeError:\n"
        "    pass\n"
        "count"
    )
    assert int(output) < 300


def test_server_gives_up_privileges(serve: ClientFactory) -> None:
    status = serve("alice.smith").run("print(open('/proc/self/status').read())")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split()[0] != "0"
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"


def test_names_and_internet(serve: ClientFactory, host: Host) -> None:
    """A notebook fetches from the mirror that its machine installs packages from."""
    mirror = host.check_output("apt-get indextargets --format '$(REPO_URI)dists/$(RELEASE)/Release' | head -n 1")
    output = serve("alice.smith").run(
        "import urllib.request\n"
        f"with urllib.request.urlopen('{mirror}', timeout=30) as page:\n"
        "    print(page.status, len(page.read()) > 1000)"
    )
    assert output.strip() == "200 True"


def test_mounted_home_belongs_to_its_owner(serve: ClientFactory, host: Host) -> None:
    """The tutorial's /home/NAME:/home/jovyan/work, readable and writable on both sides."""
    host.check_output("su kim -c 'echo from the machine >~/before.txt'")
    kim = serve("kim")
    assert kim.load("before.txt") == "from the machine\n"
    kim.save("after.txt", "from the notebook\n")
    assert host.file("/home/kim/after.txt").user == "kim"
    host.check_output("su kim -c 'echo more >>~/after.txt'")
    assert kim.load("after.txt") == "from the notebook\nmore\n"
    assert kim.run("import os; os.getuid()") == "1234"
    mounts = {mount["Destination"]: mount["Source"] for mount in inspect(host, "jupyterhub-home-user-kim")["Mounts"]}
    assert mounts["/home/jovyan/work"] == "/home/kim", "not a volume of her own"


def test_read_only_folder_for_everyone(serve: ClientFactory, host: Host) -> None:
    for name in ("alice.smith", "kim"):
        client = serve(name)
        assert client.run("open('/home/jovyan/photos/holiday.txt').read()") == r"'a photo\n'"
        output = client.run(
            "try:\n    open('/home/jovyan/photos/new.txt', 'w')\nexcept OSError as error:\n    print(error.strerror)"
        )
        assert output.strip() == "Read-only file system"
    assert host.file("/srv/photos").listdir() == ["holiday.txt"]


def test_pip_install_works_in_a_notebook(serve: ClientFactory) -> None:
    """Over TLS that the machine's own bundle knows, perhaps alone; zoe has installed nothing before."""
    bundle = "open('/etc/ssl/certs/ca-certificates.crt').read()"
    assert serve("zoe").run(f"{bundle}.endswith('# household\\n')") == "True"
    output = serve("zoe").run(
        "import subprocess, sys\n"
        "run = subprocess.run([sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', 'iniconfig'],\n"
        "                     capture_output=True, text=True)\n"
        "print(run.stderr)\n"
        "import iniconfig; print(iniconfig.__name__)"
    )
    assert output.strip().endswith("iniconfig")


def test_admin_enters_a_users_server(serve: ClientFactory, login: ClientFactory) -> None:
    serve("alice.smith").save("draft.txt", "please look\n")
    mia = login("mia")
    mia.enter("alice.smith").raise_for_status()
    assert mia.load("draft.txt", of="alice.smith") == "please look\n"
    kernel = mia.kernel(of="alice.smith")
    try:
        assert kernel.execute("5 * 4") == "20"
    finally:
        kernel.close()


def test_user_cannot_enter_anothers_server(serve: ClientFactory, login: ClientFactory) -> None:
    serve("alice.smith")
    zoe = login("zoe")
    assert zoe.enter("alice.smith").status_code == 403
    answer = zoe.get("/user/alice.smith/api/contents/draft.txt")
    assert answer.status_code == 403
    assert "please look" not in answer.text


def test_user_cannot_manage_others(login: ClientFactory) -> None:
    zoe = login("zoe")
    assert zoe.get("/hub/admin").status_code == 403
    assert zoe.hub("GET", "/users").status_code == 403
    assert zoe.hub("DELETE", "/users/alice.smith/server").status_code in (403, 404)
