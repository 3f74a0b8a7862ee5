import pytest
from conftest import PARAMS, write_params

from iebaker.errors import IebakerError
from iebaker.project.parameters import check_name, load_params


def test_params_are_read_and_their_selections_checked(tmp_path):
    file = write_params(tmp_path) / "params.yaml"
    assert load_params(file) == PARAMS
    with pytest.raises(IebakerError, match="seeds: .*at least 1 item"):
        load_params(write_params(tmp_path, seeds=[]) / "params.yaml")


@pytest.mark.parametrize("content", [b"seeds: [0", b"caf\xe9: 1", b"- 1", b""])
def test_what_is_no_params_file_is_refused_by_name(content, tmp_path):
    with pytest.raises(IebakerError, match="none.yaml: not there; run this in the project's folder"):
        load_params(tmp_path / "none.yaml")
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(IebakerError, match="params"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("name", ["both_seeds", "a.b-1", "7"])
def test_names_become_folders(name):
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["../../thesis", ".", "/tmp", "", "a/b", "-a", "a\n"])
def test_places_are_no_names(name):
    with pytest.raises(IebakerError, match="is no name"):
        check_name(name)
