import pytest

from arch import network_file
from gateware.embedded.interfaces import Interface
from gateware.verilog.command import main
from tests.embedded_networks import LANES, WIDTH, plan


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    """File of the small network."""
    path = tmp_path_factory.mktemp("network") / "small.safetensors"
    network_file.save(plan().network, path)
    return path


@pytest.fixture(scope="session")
def made(network, tmp_path_factory):
    """Folders of the small network as Verilog, by interface; one with memory files, one of a wider array, and one whose
    module is called as a signal in it.
    """
    folder = tmp_path_factory.mktemp("made")
    size = ["--lanes", str(LANES), "--width", str(WIDTH)]
    folders = {}
    for key, options in [*((each.value, [*size, "--interface", each.value]) for each in Interface),
                         ("files", [*size, "--memory-files", "--name", "core1"]),
                         ("wide", ["--lanes", "4", "--width", "8"]),
                         ("signal", [*size, "--interface", "axi", "--name", "ready"])]:
        folders[key] = folder / key
        assert main(["--network", str(network), "-o", str(folders[key]), *options]) == 0
    return folders


@pytest.fixture
def run(network, capfd, tmp_path, monkeypatch):
    """Run the command on the small network in an empty folder; returns code, output and error lines."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments, size=("--lanes", str(LANES), "--width", str(WIDTH))):
        code = main(["--network", str(network), *size, *arguments])
        out, err = capfd.readouterr()
        return code, out.splitlines(), [line for line in err.splitlines() if not line.startswith("verilog: ")]

    return command
