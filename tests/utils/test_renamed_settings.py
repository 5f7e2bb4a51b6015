from utils.renamed_settings import RENAMED_SETTINGS, with_current_names


def test_settings_of_an_earlier_version_get_their_names_of_today():
    old = {"name": "a", "train": {"clip": 10, "epochs": 2}, "data": {"geometry": None}}
    assert with_current_names(old) == {
        "name": "a",
        "train": {"max_grad_norm": 10, "epochs": 2},
        "data": {"face_crop": None},
    }
    assert old["train"] == {"clip": 10, "epochs": 2}


def test_a_setting_of_today_outweighs_the_one_of_before():
    both = {"train": {"clip": 10, "max_grad_norm": 1}}
    assert with_current_names(both) == {"train": {"max_grad_norm": 1}}


def test_names_change_within_their_section():
    for old, new in RENAMED_SETTINGS.items():
        assert old.partition(".")[0] == new.partition(".")[0]
