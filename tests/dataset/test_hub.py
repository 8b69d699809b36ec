import pytest
from dataset_examples import make
from loopback_hub import serving

from pickapic.cli.app import main
from pickapic.dataset.copy import copy
from pickapic.dataset.read import batches, column_names, fingerprint_of, locate, read, row_counts
from pickapic.dataset.schema import SPLITS
from pickapic.dataset.split import paper_split
from pickapic.dataset.stats import STATS_COLUMNS
from pickapic.dataset.write import write
from pickapic.records import InputError

NAME = "ducks/picks"
IMAGE = bytes(range(256)) * 128


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """A divided dataset of which nearly every byte is an image: 32 KiB each."""
    folder = tmp_path_factory.mktemp("hub") / NAME
    folder.parent.mkdir()
    table = make([f"p{i % 90}" for i in range(400)], [i % 90 % 40 for i in range(400)], images=True)
    for name in ("jpg_0", "jpg_1"):
        index = table.schema.get_field_index(name)
        images = [b"\xff\xd8" + number.to_bytes(4, "big") + IMAGE for number in range(400)]
        table = table.set_column(index, table.schema.field(name), [images])
    write(folder, paper_split(table, n_prompts=20), shard_bytes=4_000_000)
    return folder


@pytest.fixture
def hub(release, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with serving(release.parents[1]) as server:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server


def footers(release, split=None):
    """What reading a footer costs: Arrow asks for the last 64 KiB."""
    files = locate(release).split_files(split)
    return len(files) * 65_536


def test_columns_are_read_from_the_hub_without_the_images_beside_them(hub, release):
    assert len(locate(release).files["train"]) > 1
    assert read(NAME, STATS_COLUMNS).equals(read(release, STATS_COLUMNS))
    everything = sum(path.stat().st_size for path in release.rglob("*.parquet"))
    assert everything > 20_000_000
    assert sum(hub.sent.values()) < footers(release) + 100_000


def test_only_the_files_of_the_split_are_opened(hub, release):
    table = read(NAME, ["caption", "label_0"], "validation_unique")
    assert table.equals(read(release, ["caption", "label_0"], "validation_unique"))
    assert column_names(NAME, "validation_unique") == column_names(release)
    assert row_counts(NAME, "validation_unique") == {"validation_unique": 10}
    assert sum(batch.num_rows for batch in batches(NAME, split="validation_unique")) == 10
    assert hub.opened == {"validation_unique-00000-of-00001.parquet"}


def test_a_split_is_streamed_with_its_images(hub, release):
    rows = list(batches(NAME, ["caption", "jpg_0"], "test_unique", batch_size=4))
    assert [batch.num_rows for batch in rows] == [4, 4, 2]
    assert sum(hub.sent.values()) < 65_536 + 10 * 33_000 + 10_000  # jpg_1 is not among it


def test_counting_rows_reads_footers(hub, release):
    assert row_counts(NAME) == row_counts(release)
    assert sum(hub.sent.values()) <= sum(footers(release, split) for split in SPLITS)
    assert fingerprint_of(locate(NAME), ["train"]) == fingerprint_of(locate(release), ["train"])


def test_a_command_asked_for_one_split_downloads_nothing_else(hub, capsys):
    with pytest.raises(SystemExit) as left:
        main(["dataset", "stats", NAME, "--split", "test_unique", "--json"])
    assert not left.value.code
    assert '"rows": 10' in capsys.readouterr().out
    assert hub.opened == {"test_unique-00000-of-00001.parquet"}


def test_a_copy_downloads_its_split_and_goes_on_where_it_stopped(hub, release, tmp_path):
    def stop(count, done=[0]):  # noqa: B006  (a counter)
        done[0] += count
        if done[0] >= 300:
            raise KeyboardInterrupt

    copy(NAME, tmp_path / "unique", ["validation_unique"])
    assert read(tmp_path / "unique").equals(read(release, split="validation_unique"))
    assert hub.opened == {"validation_unique-00000-of-00001.parquet"}
    with pytest.raises(KeyboardInterrupt):
        copy(NAME, tmp_path / "out", ["train"], shard_bytes=1, on_progress=stop)
    hub.forget()
    manifest = copy(NAME, tmp_path / "out", ["train"], shard_bytes=1)
    assert read(tmp_path / "out").equals(read(release, split="train"))
    rest = manifest.shards[-1].bytes
    assert sum(hub.sent.values()) < rest + 2 * footers(release, "train") + 2_000_000
    assert rest < manifest.shards[0].bytes


def test_what_the_hub_does_not_have_is_one_sentence(hub):
    with pytest.raises(
        InputError, match="there is no folder 'ducks/other' here, and the Hugging Face hub did not"
    ):
        read("ducks/other")
    with pytest.raises(InputError, match=r"no split 'vali'.*it has: test"):
        read(NAME, ["caption"], "vali")


def test_a_hub_that_cannot_be_reached_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"hub did not give it: .*refused"):
        read("ducks/picks")
