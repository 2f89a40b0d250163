import struct

import pytest
import tensorflow as tf

from xinst_jax.train import events


def read(directory):
    """What TensorFlow's own reader, which checks the checksums, finds."""
    (path,) = directory.iterdir()
    return list(tf.compat.v1.train.summary_iterator(str(path)))


def test_tensorflow_reads_what_is_written(tmp_path):
    file = events.EventFile(tmp_path, first_step=5)
    file.scalars(5, {"train/loss": 2.5, "train/tokens_per_second": 123456.0})
    file.scalars(300, {"eval/eval_loss": 1e-3})
    file.close()
    version, start, first, second = read(tmp_path)
    assert version.file_version == "brain.Event:2"
    assert start.step == 5
    assert start.session_log.status == tf.compat.v1.SessionLog.START
    values = {value.tag: value.simple_value for value in first.summary.value}
    assert values == {"train/loss": 2.5, "train/tokens_per_second": 123456.0}
    assert (first.step, second.step) == (5, 300)
    assert (
        second.summary.value[0].simple_value
        == struct.unpack("<f", struct.pack("<f", 1e-3))[0]
    )
    assert second.wall_time == pytest.approx(tf.timestamp().numpy(), abs=60)


def test_checksum_is_that_of_the_standard():
    assert events.crc32c(b"123456789") == 0xE3069283
    assert events.crc32c(bytes(32)) == 0x8A9136AA
