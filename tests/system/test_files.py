import pytest
from transformers import GPT2Config, GPT2LMHeadModel

from hfbench.errors import StorageError
from hfbench.models.tokenizer import train_tokenizer
from hfbench.system.files import atomic, clear_unfinished, make_folder, saving


def write(path, text, error=None):
    with atomic(path) as temporary:
        temporary.write_text(text)
        if error:
            raise error


def save(parts, folder):
    with saving(str(folder)):
        for part in parts:
            part.save_pretrained(folder)


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "file"
    write(path, "old")
    with pytest.raises(ZeroDivisionError):
        write(path, "ne", ZeroDivisionError())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed(tmp_path):
    for name in (".file.12.tmp", ".other.12.tmp"):
        (tmp_path / name).write_text("ha")
    clear_unfinished(tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == [".other.12.tmp"]


def test_a_file_below_a_file_names_itself(tmp_path):
    (tmp_path / "folder").write_text("a file")
    path = tmp_path / "folder" / "file"
    with pytest.raises(StorageError, match=f"^{path} cannot be written: .*Not a directory"):
        write(path, "text")
    with pytest.raises(StorageError, match=f"^{path} cannot be written: .*Not a directory"):
        make_folder(path)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_the_libraries_own_errors_of_the_file_system_are_known(name, tmp_path):
    (tmp_path / name).mkdir()
    shape = {"n_layer": 1, "n_head": 1, "n_embd": 8, "vocab_size": 16}
    ids = {"bos_token_id": 0, "eos_token_id": 0}
    parts = [GPT2LMHeadModel(GPT2Config(**shape, **ids)), train_tokenizer(["a b"], 270)]
    with pytest.raises(StorageError, match=f"^{tmp_path} cannot be written: .*Is a directory"):
        save(parts, tmp_path)


@pytest.mark.parametrize("error", [ValueError("of ours"), KeyError("of ours")])
def test_our_own_mistakes_are_no_errors_of_the_file_system(error):
    with pytest.raises(type(error), match="of ours"), saving("the model"):
        raise error
