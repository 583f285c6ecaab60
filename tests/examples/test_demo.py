"""The demonstration runs, and its twins agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import datasets, demo


def test_twins_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = datasets.load()
    regression = demo.demo_logistic_regression(data, epochs=2)
    autoencoder = demo.demo_autoencoder(data, epochs=2, out=tmp_path)
    for epochs in (regression, autoencoder):
        assert len(epochs) == 2
        assert epochs[1].cost < epochs[0].cost
        assert all(row.apart < 1e-6 and row.ours > 0 and row.numpy > 0 for row in epochs)
    out = capsys.readouterr().out
    assert "compiled in" in out
    assert "test error" in out
    for name in ("features.png", "reconstructions.png"):
        assert str(tmp_path / name) in out
        assert (tmp_path / name).exists()


def test_main_limits_the_epochs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demo.main(["--epochs", "1", "--out", str(tmp_path)])
    out = capsys.readouterr().out
    assert "scikit-learn digits" in out
    assert "done in" in out
