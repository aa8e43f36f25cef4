# SPDX-License-Identifier: Apache-2.0
"""Layers and cut points of Hugging Face's transformers, from their configurations."""

import unittest

import torch
import transformers
from discovering import cut_points, discover, rows

transformers.logging.set_verbosity_error()


class HuggingFace(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        self.tokens = torch.arange(48).reshape(4, 12) % 50

    def test_gpt2(self):
        config = transformers.GPT2Config(
            n_layer=2, n_head=2, n_embd=16, vocab_size=50, n_positions=16
        )
        model = transformers.GPT2LMHeadModel(config)

        def step():
            return model(input_ids=self.tokens, labels=self.tokens).loss, ()

        found = discover(model, step)
        expected = [
            "transformer.wte embedding linear none 0",
            "transformer.wpe embedding linear none 1",
            "transformer.drop dropout linear none 0",
        ]
        for block in ("transformer.h.0", "transformer.h.1"):
            expected += [
                f"{block}.ln_1 layer_norm linear layer_norm 1",
                f"{block}.attn.c_attn dense linear none 1",
                f"{block}.attn.c_proj dense linear none 1",
                f"{block}.sum residual linear none 0",
                f"{block}.ln_2 layer_norm linear layer_norm 1",
                f"{block}.mlp.c_fc dense gelu none 1",
                f"{block}.mlp.c_proj dense linear none 1",
                f"{block}.sum_2 residual linear none 0",
            ]
        expected += [
            "transformer.ln_f layer_norm linear layer_norm 0",
            "lm_head dense linear none 0",
        ]
        self.assertEqual(rows(found), expected)
        zero = {n for n, layer in enumerate(found.layers, 1) if layer["depth_in_blocks"] == 0}
        self.assertEqual(zero, cut_points(model, step, found, ["transformer.wte"]))
        c_attn = found.layers[4]
        self.assertEqual((c_attn["fan_in"], c_attn["fan_out"]), (16, 48))
        self.assertEqual(c_attn["weight_init"][0], "normal")
        self.assertAlmostEqual(c_attn["weight_init"][1], 0.02, delta=0.002)
        self.assertEqual(found.unseen, [])

    def test_bert(self):
        config = transformers.BertConfig(
            num_hidden_layers=2,
            num_attention_heads=2,
            hidden_size=16,
            intermediate_size=32,
            vocab_size=50,
            max_position_embeddings=16,
        )
        model = transformers.BertForSequenceClassification(config)
        labels = torch.tensor([0, 1, 1, 0])
        types = torch.arange(48).reshape(4, 12) % 2

        def step():
            return model(input_ids=self.tokens, token_type_ids=types, labels=labels).loss, ()

        found = discover(model, step)
        embeddings = "bert.embeddings"
        expected = [
            f"{embeddings}.word_embeddings embedding linear none 1",
            f"{embeddings}.token_type_embeddings embedding linear none 1",
            f"{embeddings}.position_embeddings embedding linear none 1",
            f"{embeddings}.LayerNorm layer_norm linear layer_norm 0",
            f"{embeddings}.dropout dropout linear none 0",
        ]
        for layer in ("bert.encoder.layer.0", "bert.encoder.layer.1"):
            expected += [
                f"{layer}.attention.self.query dense linear none 1",
                f"{layer}.attention.self.key dense linear none 1",
                f"{layer}.attention.self.value dense linear none 1",
                f"{layer}.attention.output.dense dense linear none 1",
                f"{layer}.attention.sum residual linear none 0",
                f"{layer}.attention.output.LayerNorm layer_norm linear layer_norm 0",
                f"{layer}.intermediate.dense dense gelu none 1",
                f"{layer}.output.dense dense linear none 1",
                f"{layer}.sum residual linear none 0",
                f"{layer}.output.LayerNorm layer_norm linear layer_norm 0",
            ]
        expected += [
            "bert.pooler.dense dense tanh none 0",
            "dropout dropout linear none 0",
            "classifier dense linear none 0",
        ]
        self.assertEqual(rows(found), expected)
        entries = [f"{embeddings}.word_embeddings", f"{embeddings}.token_type_embeddings"]
        zero = {n for n, layer in enumerate(found.layers, 1) if layer["depth_in_blocks"] == 0}
        self.assertEqual(zero, cut_points(model, step, found, entries))

    def test_an_encoder_and_a_decoder_that_share_their_embedding(self):
        config = transformers.T5Config(
            vocab_size=50,
            d_model=16,
            d_kv=8,
            d_ff=32,
            num_layers=1,
            num_heads=2,
            decoder_start_token_id=0,
        )
        model = transformers.T5ForConditionalGeneration(config)

        def step():
            return model(input_ids=self.tokens, labels=self.tokens).loss, ()

        found = discover(model, step)
        zero = {n for n, layer in enumerate(found.layers, 1) if layer["depth_in_blocks"] == 0}
        entries = ["encoder.embed_tokens", "decoder.embed_tokens"]
        self.assertEqual(zero, cut_points(model, step, found, entries))
        self.assertIn("decoder.final_layer_norm layer_norm linear layer_norm 0", rows(found))
        names = [name for name, *_ in found.parameters]
        self.assertEqual(sorted(names), sorted(name for name, _ in model.named_parameters()))
        self.assertEqual(found.unseen, [])


if __name__ == "__main__":
    unittest.main()
