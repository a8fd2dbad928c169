"""Calibration of models that are handed over in Python."""

import pytest
import torch
from transformers import BertConfig, BertLMHeadModel

from tests.models.tiny import VOCABULARY, language_model, tiny_llama, words, write_tokenizer
from theorykit import CalibrationSettings, calibrate
from theorykit.errors import CalibrationError

SETTINGS = CalibrationSettings(n_tokens=64, block=16, anchor_tokens=32)


class Scores(torch.nn.Module):
    """A model of one's own, whose output is the tensor of scores."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed_tokens, self.inner = torch.nn.Embedding(VOCABULARY, 8), torch.nn.Linear(8, 8)
        self.lm_head = torch.nn.Linear(8, VOCABULARY, bias=False)

    def get_input_embeddings(self):
        return self.embed_tokens

    def forward(self, input_ids):
        x = self.embed_tokens(input_ids)
        return self.lm_head(x + torch.nn.functional.silu(self.inner(x)))


def test_a_model_of_ones_own(tmp_path):
    model = language_model(Scores(), write_tokenizer(tmp_path))
    calibrated = calibrate(model, words(200), settings=SETTINGS)
    assert [part.name for part in calibrated.statistics] == ["inner"]
    assert all(anchor.kl >= 0 for anchor in calibrated.spectra.calibration.anchors)


def test_what_reads_both_ways_is_refused_in_python_too(tmp_path):
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    module = BertLMHeadModel(BertConfig(vocab_size=VOCABULARY, is_decoder=False, **shape)).eval()
    with pytest.raises(CalibrationError, match="tiny is not causal"):
        calibrate(language_model(module, write_tokenizer(tmp_path)), words(200), settings=SETTINGS)


def test_a_model_without_scores_is_refused(tmp_path):
    with pytest.raises(CalibrationError, match="a LlamaModel gives no scores of the next token"):
        calibrate(language_model(tiny_llama().model, write_tokenizer(tmp_path)), words(200), settings=SETTINGS)
