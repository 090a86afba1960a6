"""Other libraries' ways of using a model, on saved folders of the custom GPT."""

import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer, pipeline, set_seed

from hfbench.models import CustomGPTConfig, CustomGPTForCausalLM, CustomGPTForSequenceClassification
from hfbench.models.tokenizer import train_tokenizer

TEXTS = ["the cat sat on the mat", "a dog", "the dog and a cat sat"]
NAMES = {0: "bad", 1: "fair", 2: "good"}
HEADS = (CustomGPTForCausalLM, CustomGPTForSequenceClassification)


def build(model_class, seed=0):
    tokenizer = train_tokenizer(TEXTS, 270)
    set_seed(seed)
    config = CustomGPTConfig(
        vocab_size=len(tokenizer),
        n_positions=48,
        n_layer=2,
        n_head=2,
        n_embd=32,
        initializer_range=0.3,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        id2label=NAMES,
    )
    return model_class(config).eval()


@pytest.fixture(params=HEADS)
def model_class(request):
    return request.param


@pytest.fixture
def folder(tmp_path):
    """A folder with a tokenizer, to which a test saves its model."""
    train_tokenizer(TEXTS, 270).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def batch(folder):
    """Input ids and mask of TEXTS, padded on the right."""
    inputs = AutoTokenizer.from_pretrained(folder)(TEXTS, return_tensors="pt", padding=True)
    return {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}


def labels_for(model, inputs):
    if isinstance(model, CustomGPTForSequenceClassification):
        return torch.tensor([0, 2, 1])
    return inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)


def assert_close(first, second, atol=1e-5):
    torch.testing.assert_close(first, second, atol=atol, rtol=0)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_text_classification_pipeline_says_what_the_model_says(folder, batch_size):
    model = build(CustomGPTForSequenceClassification)
    model.save_pretrained(folder)
    classify = pipeline("text-classification", model=str(folder), device="cpu")
    said = classify(TEXTS, top_k=None, batch_size=batch_size)
    expected = model(**batch(folder)).logits.softmax(-1)
    for scores, row in zip(said, expected, strict=True):
        by_name = {score["label"]: score["score"] for score in scores}
        assert_close(torch.tensor([by_name[NAMES[number]] for number in range(3)]), row)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_text_generation_pipeline_continues_like_the_model(folder, batch_size):
    model = build(CustomGPTForCausalLM)
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    write = pipeline("text-generation", model=str(folder), tokenizer=tokenizer, device="cpu")
    options = {"max_new_tokens": 8, "do_sample": False}
    said = write(TEXTS, batch_size=batch_size, return_tensors=True, **options)
    for text, (answer,) in zip(TEXTS, said, strict=True):
        alone = model.generate(**tokenizer(text, return_tensors="pt"), **options)[0].tolist()
        given = answer["generated_token_ids"]
        assert [token for token in given if token != tokenizer.pad_token_id] == alone
    (answer,) = write(TEXTS[0], return_full_text=False, **options)
    assert answer["generated_text"]


@pytest.mark.slow
def test_lora_trains_and_saves_adapters_and_the_head(folder, tmp_path, model_class):
    peft = pytest.importorskip("peft")
    is_classifier = model_class is CustomGPTForSequenceClassification
    config = peft.LoraConfig(
        task_type="SEQ_CLS" if is_classifier else "CAUSAL_LM",
        target_modules=["c_attn", "c_proj", "c_fc"],
        r=2,
    )
    base = build(model_class)
    before = {name: weight.clone() for name, weight in base.state_dict().items()}
    inputs = batch(folder)
    start = base(**inputs).logits.detach()
    model = peft.get_peft_model(base, config)
    assert_close(model(**inputs).logits, start)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert sum("lora_" in name for name in trained) == 2 * 2 * 4  # A and B, blocks, matrices
    assert sum("score" in name for name in trained) == 2 * is_classifier  # weight and bias
    assert len(trained) == 2 * 2 * 4 + 2 * is_classifier

    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    losses = []
    for _ in range(4):
        losses.append(model(**inputs, labels=labels_for(base, inputs)).loss)
        losses[-1].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0]

    model.save_pretrained(tmp_path / "adapter")
    again = peft.PeftModel.from_pretrained(build(model_class), tmp_path / "adapter").eval()
    assert_close(again(**inputs).logits, model(**inputs).logits)
    if is_classifier:
        assert not torch.equal(again.get_base_model().score.weight, before["score.weight"])
    merged = again.merge_and_unload()
    assert type(merged) is model_class
    assert_close(merged(**inputs).logits, model(**inputs).logits, atol=1e-4)
    embeddings = merged.transformer.wte.weight
    assert torch.equal(embeddings, before["transformer.wte.weight"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_onnxruntime_gives_the_same_logits_for_every_batch_and_length(
    folder, tmp_path, model_class
):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    model = build(model_class)
    dynamic = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    torch.onnx.export(
        model,
        (),
        str(tmp_path / "model.onnx"),
        kwargs={**batch(folder), "use_cache": False},
        dynamic_shapes={"input_ids": dynamic, "attention_mask": dynamic, "use_cache": None},
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamo=True,
    )
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"))
    whole = batch(folder)
    for rows, columns in ((3, whole["input_ids"].shape[1]), (2, 5), (1, 2)):
        inputs = {name: tensor[:rows, :columns].contiguous() for name, tensor in whole.items()}
        (logits,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
        real = (
            inputs["attention_mask"].bool() if model_class is CustomGPTForCausalLM else slice(None)
        )
        assert_close(torch.from_numpy(logits)[real], model(**inputs).logits[real])


@pytest.mark.slow
def test_an_sft_trainer_takes_a_step(folder, tmp_path):
    trl = pytest.importorskip("trl")
    model = build(CustomGPTForCausalLM)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    trainer = trl.SFTTrainer(
        model=model,
        args=trl.SFTConfig(
            output_dir=str(tmp_path / "out"),
            max_steps=1,
            per_device_train_batch_size=3,
            learning_rate=0.01,
            max_length=16,
            use_cpu=True,
            bf16=False,
            report_to="none",
        ),
        train_dataset=Dataset.from_dict({"text": TEXTS}),
        processing_class=AutoTokenizer.from_pretrained(folder),
    )
    loss = trainer.train().training_loss
    assert 0 < loss < 20
    moved = [not torch.equal(weight, before[name]) for name, weight in model.named_parameters()]
    assert all(moved)
