import pytest

from evaluation.metrics.registry import COLUMNS, METRICS, current_name, parse_metrics
from utils.errors import InputError


def test_metrics_come_in_the_order_of_the_columns():
    assert parse_metrics("all") == parse_metrics("l1, all") == list(COLUMNS)
    assert parse_metrics("fid, l1,akd") == ["l1", "akd", "fid"]
    with pytest.raises(InputError, match=r"No metric is called 'psnrr'.*psnr_published"):
        parse_metrics("psnrr")


def test_every_column_belongs_to_one_metric():
    assert len(COLUMNS) == sum(len(metric.columns) for metric in METRICS)


def test_columns_of_earlier_versions_have_names_of_today():
    assert current_name("lpips_alex_reference") == "lpips_alex_published"
    assert all(current_name(column) == column for column in COLUMNS)
