"""In what a row is not what the name of its checkpoint says, against checkpoints made so."""

import json

import pytest
import torch
from rich.console import Console
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel

from hfbench.errors import UserError
from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.findings import Findings
from hfbench.execution.compare import compare
from hfbench.models.facts import parameter_count
from hfbench.models.load import load_classifier
from hfbench.models.origin import classifier_head
from hfbench.models.prepare import check_head, prepare_model
from hfbench.models.tokenizer import end_texts, train_tokenizer
from hfbench.recipe.load import load_recipe
from hfbench.recipe.model import Model

TEXTS = ["the cat sat on the mat", "a dog and a cat"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
         "intermediate_size": 16, "max_position_embeddings": 64, "vocab_size": 270}  # fmt: skip
TOKENIZER = {"train_on": "task", "vocab_size": 270}


@pytest.fixture
def save(tmp_path):
    """A function that writes a checkpoint and gives its folder."""

    def save(model_class=BertForSequenceClassification, *, tokenizer=True, dtype=None, **config):
        torch.manual_seed(7)
        folder = tmp_path / f"checkpoint-{len(list(tmp_path.iterdir()))}"
        model_class(BertConfig(**SIZES, **config)).to(dtype or torch.float32).save_pretrained(
            folder
        )
        if tokenizer:
            train_tokenizer(TEXTS, 270).save_pretrained(folder)
        return folder

    return save


def prepare(folder, **entry):
    values = {"name": "m", "model_name_or_path": str(folder), **entry}
    return prepare_model(Model.model_validate(values), lambda source: TEXTS)


def named(*names):
    return {"id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}}


def logits(model, prepared):
    with torch.no_grad():
        return model.eval()(**prepared.tokenizer("the cat", return_tensors="pt")).logits[0]


def test_outputs_are_put_in_the_order_of_the_labels_by_their_names(save):
    folder = save(**named("POSITIVE", "NEGATIVE", "Neutral"))
    prepared = prepare(folder)
    labels = ["negative", "neutral", "positive"]
    plain = BertForSequenceClassification.from_pretrained(folder)
    before, after = logits(plain, prepared), logits(load_classifier(prepared, labels, 0), prepared)
    assert after.tolist() == before[[1, 2, 0]].tolist()
    assert prepared.head(labels).note == (
        "the outputs of its head (POSITIVE, NEGATIVE, Neutral) were put in the order of the labels"
    )


@pytest.mark.parametrize(
    ("config", "note"),
    [
        (named("no", "yes"), None),
        ({}, "its head for 2 classes without names was kept"),
        (named("up", "down"), "its head was kept, whose classes have other names (up, down)"),
        (named("a", "b", "c"), "its head for 3 classes (a, b, c) was replaced by a new one"),
    ],
)
def test_a_head_that_is_kept_or_replaced_is_said(config, note, save):
    prepared = prepare(save(**config))
    head = classifier_head(prepared.config, ["no", "yes"], "single_label_classification")
    assert (head.note, head.order) == (note, None)


@pytest.mark.parametrize(
    ("config", "labels", "kind", "note", "is_kept"),
    [
        ({"num_labels": 1, "problem_type": "regression"}, ["score"], "regression",
         "its head with one output was kept", True),
        (named("no", "yes"), ["score"], "regression",
         "its head for 2 classes (no, yes) was replaced by a new one", False),
        ({"num_labels": 1}, ["no", "yes"], "single_label_classification",
         "its head with one output was replaced by a new one", False),
        ({**named("b", "a"), "problem_type": "multi_label_classification"}, ["a", "b"],
         "multi_label_classification",
         "the outputs of its head (b, a) were put in the order of the labels", False),
        ({**named("no", "yes"), "problem_type": "multi_label_classification"}, ["no", "yes"],
         "single_label_classification", None, True),
    ],
)  # fmt: skip
def test_a_head_fits_what_is_asked(config, labels, kind, note, is_kept, save):
    folder = save(**config)
    prepared = prepare(folder)
    assert prepared.head(labels, kind).note == note
    model = load_classifier(prepared, labels, 0, kind=kind)
    assert model.config.problem_type in (kind, None)
    assert (model.config.num_labels, model.config.id2label) == (
        len(labels),
        dict(enumerate(labels)),
    )
    before = BertForSequenceClassification.from_pretrained(folder).classifier.weight
    assert torch.equal(model.classifier.weight, before) == is_kept
    assert parameter_count(prepared, "classifier", len(labels)) == sum(
        parameter.numel() for parameter in model.parameters()
    )


def test_a_new_head_on_a_language_model_is_nothing_to_say(save):
    assert prepare(save(BertForMaskedLM)).head(["no", "yes"]).note is None


def test_a_twin_has_nothing_of_its_checkpoint_but_the_shape(save):
    folder = save(dtype=torch.bfloat16, **named("yes", "no"))
    twin = prepare(folder, random_init=True)
    assert (twin.notes, twin.head(["no", "yes"]).order) == ((), None)
    assert prepare(folder).notes == ("its weights were cast from bfloat16 to float32",)


def test_the_pooling_of_sentence_transformers_is_left_out(save):
    folder = save(BertModel)
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 16, "pooling_mode_cls_token": False,
               "pooling_mode_mean_tokens": True}  # fmt: skip
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    assert prepare(folder).notes == (
        "the pooling of sentence-transformers (mean_tokens) is left out",
    )


def test_an_end_of_text_that_is_the_pad_token_is_said(save):
    folder = save()
    tokenizer = train_tokenizer(TEXTS, 270)
    end_texts(tokenizer)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(folder)
    (note,) = prepare(folder).notes
    assert note == "the token at the end of each text (<|endoftext|>) is taken for padding"


def test_quantised_weights_are_refused_with_what_is_missing(save):
    folder = save()
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"models\.m: the weights of .* are quantised \(gptq\) and"):
        prepare(folder)
    prepare(folder, random_init=True)  # has none of them


def test_a_folder_without_a_tokenizer_takes_the_one_that_is_given(save):
    folder = save(BertModel, tokenizer=False)
    with pytest.raises(
        UserError, match=r"models\.m: there is no tokenizer .*give models\.m\.token"
    ):
        prepare(folder)
    prepared = prepare(folder, tokenizer=TOKENIZER)
    assert prepared.notes == ("it has no tokenizer of its own, and was given one",)


def test_an_unknown_architecture_is_told_from_the_nearest_and_not_from_all():
    entry = Model.model_validate({"name": "m", "model_type": "gpt22", "tokenizer": TOKENIZER})
    with pytest.raises(UserError) as error:
        prepare_model(entry, lambda source: TEXTS)
    assert "has no architecture 'gpt22'; did you mean 'gpt2'?" in str(error.value)
    assert len(str(error.value)) < 250


def test_what_a_folder_with_a_language_model_alone_lacks_is_said(tmp_path):
    (tmp_path / "own.py").write_text(
        "from transformers import PreTrainedConfig\n"
        "class OwnConfig(PreTrainedConfig):\n    model_type = 'own'\n"
    )
    auto_map = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnForCausalLM"}
    config = {"model_type": "own", "auto_map": auto_map}
    (tmp_path / "config.json").write_text(json.dumps(config))
    train_tokenizer(TEXTS, 270).save_pretrained(tmp_path)
    prepared = prepare(tmp_path, trust_remote_code=True)
    with pytest.raises(UserError) as error:
        check_head(prepared, "classifier")
    assert "its own code has none (auto_map: AutoConfig, AutoModelForCausalLM)" in str(error.value)
    assert "write a class ...ForSequenceClassification there" in str(error.value)


def test_the_table_says_what_a_row_is_not(save, write_recipe, tmp_path):
    """Also that padding changes predictions: BERT counts pads on the left as positions."""
    folder = save(**named("yes", "no"))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["padding_side"] = "left"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    left = {"name": "left", "model_name_or_path": str(folder)}
    right = {**left, "name": "right", "model_name_or_path": str(save(**named("no", "yes")))}
    path = write_recipe(models=[left, right], seeds=[0])
    outcome = compare(load_recipe(path), tmp_path / "results", console=Console(quiet=True))
    assert not outcome.failed
    notes = Findings.of(load_comparison(outcome.folder)).footnotes
    assert "the outputs of its head (yes, no) were put in the order of the labels" in notes["left"]
    assert "padding changes its predictions" in notes["left"]
    assert notes["right"].startswith(
        "[2] right: 1 of 1 runs did not train but gave one answer (rate 5 % or more)"
    )
