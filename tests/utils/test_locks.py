import pytest

from utils.errors import InputError, OutputError
from utils.locks import sole_writer


def test_a_folder_has_one_writer_at_a_time(tmp_path):
    lock, other = tmp_path / "new" / ".lock", tmp_path / "new" / ".other"
    with sole_writer(lock, busy="Wait."):
        with pytest.raises(InputError, match=r"^Wait\.$"), sole_writer(other, lock, busy="Wait."):
            pass
        with sole_writer(other, busy="Wait."):  # which the refused one has let go
            pass
    with sole_writer(lock, other, busy="Wait."):
        pass


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    lock = tmp_path / "file" / ".lock"
    with pytest.raises(OutputError, match="file cannot be written"), sole_writer(lock, busy=""):
        pass
